"""What a plan says, as it is printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from edge.lab.machine import Machine
from edge.lab.plan_verdict import Word, judge
from edge.lab.report import Milliseconds, Part
from edge.lab.sources import describe
from edge.lab.table import Table, ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.lab.plan import Plan, Run
    from edge.lab.simulation import LoadOutcome, SourceOutcome

ENOUGH_FOR = {50.0: 2, 99.0: 100}  # frames, for a percentile; as `Histogram.supported_percentile`
BUSY = 0.2  # of a core, that other processes use: more than a system at rest does


class SourceFigures(Part):
    """What becomes of a source's frames; shares are of all that fall due."""

    answered_hz: float
    p50_ms: Milliseconds | None
    """Capture to result; null where too few frames were measured to say."""
    p99_ms: Milliseconds | None
    missed: float
    """Answered late, dropped for it, or due and never taken."""
    mailbox: float
    """Replaced by a newer one before the engine was free."""
    deadline: float
    """Past their deadline before the forward pass, and dropped."""
    source: float
    """Due and never taken."""


class PlannedSource(Part):
    """One source of a pipeline."""

    name: str
    source: str
    in_place_of: str | None
    """The source that test frames stood in for."""
    rate_hz: float | None
    """Frames a second that fall due; null where it is pulled."""
    deadline_ms: float
    frames_measured: int
    planned: SourceFigures
    worst: float
    """Share of frames not answered in time when its frames fall in with others' at the worst."""
    run: SourceFigures | None
    """What it really did, where that was asked for."""


class Use(Part):
    """What a pipeline uses."""

    engine: float
    """Part of the time in forward passes."""
    cores: float
    """How many of the device's cores are busy with it, on average."""


class PlannedPipeline(Part):
    """One pipeline."""

    pipeline: str
    model: str
    digest: str
    engine: str
    engine_version: str
    engine_reason: str
    threads: int
    sources: list[PlannedSource]
    planned: Use
    run: Use | None
    verdict: Word
    because: str


class PlanReport(Part):
    """One plan."""

    format: Literal["edge-plan"] = "edge-plan"
    version: Literal[1] = 1
    at: str
    """UTC, by this machine's clock."""
    seconds: float
    """Each pipeline was measured so long, alone."""
    seed: int
    machine: Machine
    pipelines: list[PlannedPipeline]
    cores: float
    """How many of the device's cores all pipelines use together."""
    others: float
    """How many other processes used while it was measured."""
    run_cores: float | None
    run_others: float | None
    head_room: float | None
    """All live sources can be so many times faster, up to 64; 0 where even a 16th is too fast.
    Null where no source has a rate."""
    fits: bool


def make_plan_report(
    plan: Plan, run: Run | None, *, at: str, seconds: float, seed: int, machine: Machine
) -> PlanReport:
    """Put the report together."""
    pipelines = [_pipeline(plan, run, place) for place in range(len(plan.measured))]
    return PlanReport(
        at=at,
        seconds=seconds,
        seed=seed,
        machine=machine,
        pipelines=pipelines,
        cores=round(sum(each.planned.cores for each in pipelines), 4),
        others=round(plan.cores.others, 4),
        run_cores=round(sum(each.run.cores for each in pipelines if each.run), 4) if run else None,
        run_others=round(run.others, 4) if run else None,
        head_room=None if plan.head_room is None else round(plan.head_room, 3),
        fits=all(each.verdict != "does not fit" for each in pipelines),
    )


def _pipeline(plan: Plan, run: Run | None, place: int) -> PlannedPipeline:
    measured, verdict = plan.measured[place], judge(plan, place)
    together, ready = plan.together, measured.ready
    outcome, ran = together.outcomes[place], run.outcomes[place] if run else None
    sources = []
    for number, load in enumerate(measured.load.sources):
        planned = _figures(outcome.sources[number], together.seconds, len(load.costs))
        real = _figures(ran.sources[number], run.seconds) if run and ran else None
        sources.append(
            PlannedSource(
                name=load.name,
                source=describe(measured.options.all_sources[load.name]),
                in_place_of=measured.in_place_of.get(load.name),
                rate_hz=round(1e9 / load.period_ns, 4) if load.period_ns else None,
                deadline_ms=load.deadline_ns / 1e6,
                frames_measured=len(load.costs),
                planned=planned,
                worst=round(together.worst[place][number], 5),
                run=real,
            )
        )
    return PlannedPipeline(
        pipeline=measured.name,
        model=measured.options.model.path.name,
        digest=ready.digest,
        engine=ready.engine,
        engine_version=ready.engine_version,
        engine_reason=ready.engine_reason,
        threads=ready.threads,
        sources=sources,
        planned=_use(outcome, together.seconds),
        run=_use(ran, run.seconds) if run and ran else None,
        verdict=verdict.word,
        because=verdict.because,
    )


def _figures(outcome: SourceOutcome, seconds: float, frames: int | None = None) -> SourceFigures:
    """Return them; percentiles as far as so many measured frames support them."""
    known = len(outcome.latencies_ns) if frames is None else frames
    p50, p99 = (
        round(outcome.percentile_ns(q) / 1e6, 4) if known >= least else None
        for q, least in ENOUGH_FOR.items()
    )
    lost = (outcome.missed, outcome.mailbox, outcome.deadline, outcome.lost)
    missed, mailbox, deadline, source = (round(n / max(outcome.arrived, 1), 5) for n in lost)
    return SourceFigures(
        answered_hz=round(outcome.answered / seconds, 3),
        p50_ms=p50,
        p99_ms=p99,
        missed=missed,
        mailbox=mailbox,
        deadline=deadline,
        source=source,
    )


def _use(outcome: LoadOutcome, seconds: float) -> Use:
    engine, cores = (round(ns / 1e9 / seconds, 4) for ns in (outcome.engine_ns, outcome.cpu_ns))
    return Use(engine=engine, cores=cores)


def plan_table(report: PlanReport) -> Table:
    """Return one row a source, and beside it what it really did where that was asked for."""
    ran = report.run_cores is not None
    header = ["pipeline", "source", *([""] if ran else []), "deadline", "P50", "P99", "per s"]
    header += ["missed", "mailbox", "late", "source lost", "engine", "cores", "verdict"]
    rows = []
    for pipeline in report.pipelines:
        for source in pipeline.sources:
            live = source.rate_hz is not None
            named = source.source
            if len(pipeline.sources) > 1:
                named = f"{source.name}: {named}"
            deadline = f"{source.deadline_ms:g}" if live else "-"
            start = [pipeline.pipeline, named, *(["plan"] if ran else []), deadline]
            middle = _cells(source.planned, pipeline.planned, live=live)
            rows.append([*start, *middle, pipeline.verdict])
            if source.run and pipeline.run:
                rows.append(["", "", "run", "", *_cells(source.run, pipeline.run, live=live), ""])
    return Table(header, rows, left=frozenset(["pipeline", "source", "", "verdict"]), keys=2)


def _cells(figures: SourceFigures, use: Use, *, live: bool) -> list[str]:
    shares = (figures.missed, figures.mailbox, figures.deadline, figures.source)
    return [
        *([ms(figures.p50_ms), ms(figures.p99_ms)] if live else ["-", "-"]),
        f"{figures.answered_hz:,.1f}",
        *(f"{share:.1%}" if live else "-" for share in shares),
        f"{use.engine:.0%}",
        f"{use.cores:.2f}",
    ]


def sentences(report: PlanReport) -> Iterator[str]:
    """Yield what is to be said below the table."""
    for pipeline in report.pipelines:
        if pipeline.because:
            yield f"{pipeline.pipeline}: {pipeline.verdict}: {pipeline.because}"
        for source in pipeline.sources:
            if source.rate_hz and source.frames_measured < ENOUGH_FOR[99.0]:
                needed = math.ceil(ENOUGH_FOR[99.0] / source.frames_measured * report.seconds)
                yield (
                    f"{pipeline.pipeline}: a P99 needs 100 frames, and "
                    f"{source.frames_measured} were measured; --seconds {needed} gives them"
                )
    cores = report.machine.cores
    used = f"cores: {report.cores:.2f} of {cores} ({report.cores / cores:.0%})"
    if report.run_cores is not None:
        used += f", {report.run_cores:.2f} when they ran"
    if report.others >= 0.01 or (report.run_others or 0) >= 0.01:  # noqa: PLR2004
        used += f"; other processes took {report.others:.2f} more"
        used += f", {report.run_others:.2f} in the run" if report.run_others is not None else ""
    yield used
    if report.others > BUSY:
        yield (
            "the device was busy with something else while it was measured; the plan takes that to "
            "go on: where it will not, stop it and plan again"
        )
    if report.head_room is not None:
        yield f"head-room: {_room(report.head_room)}"


def _led(pipeline: PlannedPipeline) -> str:
    return (
        f"{pipeline.verdict}: "
        if pipeline.verdict in ("does not fit", "tight")
        else "has no deadline to plan: "
    )


def _room(factor: float) -> str:
    if not factor:
        return "none: even at a 16th of these rates frames miss their deadlines"
    if factor < 1:
        return f"none; it would fit at {factor:.2f} times these rates"
    if factor >= 64:  # noqa: PLR2004
        return "more than 64 times these rates"
    return f"up to {factor:.2f} times these rates"
