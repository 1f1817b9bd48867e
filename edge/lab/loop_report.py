"""What a bench of the whole loop found, as it is printed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edge.lab.loop_run import Tally
from edge.lab.machine import Machine
from edge.lab.report import HdrHistogram, Latency, Part, latency_of
from edge.lab.sources import describe_all
from edge.lab.statistics import histogram_ns
from edge.lab.table import Table, ms
from edge.latency.hdr_codec import encode
from edge.messages import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.lab.loop_bench import Case, LoopPlan


class Spread(Part):
    """A ratio, loop / bare: the median of the turns' ratios, their least and their greatest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


class LoopCase(Part):
    """One pipeline against its forward pass alone."""

    pipeline: str
    source: str
    model: str
    digest: str
    engine: str
    engine_version: str
    engine_reason: str
    threads: int
    deadline_ms: float
    bare_rate_hz: float | None
    """Starts a second of the forward passes alone; null: as fast as possible."""
    bare_ms: Latency
    bare_hz: float
    loop_ms: Latency | None
    """Capture to result; a frame dropped for its deadline with its age by then."""
    loop_hz: float
    stages_ms: dict[str, Latency]
    answered: int
    missed: int
    """Answered late, dropped for it, or due and never taken."""
    failed: int
    dropped: dict[str, int]
    cpu_ms_a_frame: float
    p50_ratio: Spread | None
    throughput_ratio: Spread | None
    """Null where the source sets the pace of both."""
    turn_p50_ms: list[Annotated[float, Field(gt=0)]]
    """The median of each turn of the loop in which a frame was answered."""
    bare_turn_p50_ms: list[Annotated[float, Field(gt=0)]]
    hdr_ns: HdrHistogram | None
    """Capture to result, an HdrHistogram of nanoseconds in V2 compressed encoding, base64."""
    bare_hdr_ns: HdrHistogram


class LoopReport(Part):
    """One run."""

    format: Literal["edge-bench-pipeline"] = "edge-bench-pipeline"
    version: Literal[1] = 1
    at: str
    """UTC, by this machine's clock."""
    rate_hz: float | None
    """What `--rate` asked for."""
    turns: int
    turn_s: float
    machine: Machine
    cases: list[LoopCase]


def make_loop_report(
    cases: Sequence[Case], plan: LoopPlan, *, at: str, machine: Machine
) -> LoopReport:
    """Put the report together."""
    return LoopReport(
        at=at,
        rate_hz=plan.rate_hz,
        turns=len(cases[0].loop),
        turn_s=plan.turn_s,
        machine=machine,
        cases=[_report_case(case) for case in cases],
    )


def _report_case(case: Case) -> LoopCase:
    total, bare, ready = Tally.of(case.loop), histogram_ns(case.bare_ns), case.ready
    return LoopCase(
        pipeline=case.name,
        source=describe_all(case.options),
        model=case.options.model.path.name,
        digest=ready.digest,
        engine=ready.engine,
        engine_version=ready.engine_version,
        engine_reason=ready.engine_reason,
        threads=ready.threads,
        deadline_ms=case.options.deadline_ms,
        bare_rate_hz=case.pace_hz,
        bare_ms=latency_of(bare),
        bare_hz=round(statistics.median(turn.hz for turn in case.bare), 3),
        loop_ms=latency_of(total.latency) if total.latency.count else None,
        loop_hz=round(total.fps, 3),
        stages_ms={
            stage: latency_of(histogram)
            for stage, histogram in total.stages.items()
            if histogram.count
        },
        answered=total.answered,
        missed=total.missed,
        failed=total.failed,
        dropped=dict(total.dropped),
        cpu_ms_a_frame=round(total.cpu_ms, 4),
        p50_ratio=_spread(case.ratios),
        throughput_ratio=None if case.pace_hz else _spread(case.throughput_ratios),
        turn_p50_ms=[
            round(turn.latency.percentile(50) / 1e6, 6) for turn in case.loop if turn.latency.count
        ],
        bare_turn_p50_ms=[round(turn.p50_ns / 1e6, 6) for turn in case.bare],
        hdr_ns=encode(total.latency) if total.latency.count else None,
        bare_hdr_ns=encode(bare),
    )


def _spread(ratios: Sequence[float]) -> Spread | None:
    if not ratios:
        return None
    median, low, high = statistics.median(ratios), min(ratios), max(ratios)
    return Spread(median=round(median, 4), low=round(low, 4), high=round(high, 4))


def figures_table(case: LoopCase) -> Table:
    """Return the figures of the bare forward pass, the loop and its stages, in milliseconds."""
    rows: list[tuple[str, Latency | None, float | None]] = [
        ("bare forward pass", case.bare_ms, case.bare_hz),
        ("capture to result", case.loop_ms, case.loop_hz),
    ]
    rows += [(f"  {stage}", case.stages_ms.get(stage), None) for stage in STAGES]
    header = ["", "mean", "P50", "P90", "P95", "P99", "max", "count", "per s"]
    cells = []
    for name, each, hz in rows:
        rate = "" if hz is None else f"{hz:,.1f}"
        if each is None:
            cells.append([name, *["-"] * 6, "0", rate])
            continue
        times = (each.mean, each.p50, each.p90, each.p95, each.p99, each.max)
        cells.append([name, *map(ms, times), f"{each.count:,}", rate])
    return Table(header, cells, left=frozenset([""]))


def ratios_table(report: LoopReport) -> Table:
    """Return loop against bare, one row a pipeline and source."""
    header = ["pipeline", "source", "P50 ratio", "per s ratio"]
    header += ["answered", "missed", "mailbox", "source lost", "CPU/frame"]
    rows = [
        [
            case.pipeline,
            case.source,
            str(case.p50_ratio or "-"),
            str(case.throughput_ratio or "paced"),
            f"{case.answered:,}",
            f"{case.missed:,}",
            f"{case.dropped['mailbox']:,}",
            f"{case.dropped['source']:,}",
            ms(case.cpu_ms_a_frame),
        ]
        for case in report.cases
    ]
    return Table(header, rows, left=frozenset(["pipeline", "source"]), keys=2)
