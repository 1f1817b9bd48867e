"""Times the whole loop of pipelines against the bare forward pass, in turns."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge.errors import SourceError
from edge.lab.bench import PACED_INVOKES
from edge.lab.bench import Plan as BarePlan
from edge.lab.loop_run import LoopRun, Tally
from edge.lab.subject import Probe, Subject
from edge.lab.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.config.pipeline import Pipeline
    from edge.wire import Ready


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """How long loop and forward pass are measured, and at which rate."""

    seconds: float
    """So long each, all turns together, without warm-up."""
    rate_hz: float | None = None
    """Frames a second that fall due; None: as fast as possible, or a camera's own pace."""
    turns: int = 10
    """Of each, loop and forward pass."""

    @property
    def turn_s(self) -> float:
        """Length of one turn."""
        return max(self.seconds / self.turns, PACED_INVOKES / self.rate_hz if self.rate_hz else 0.0)


@dataclass(slots=True)
class BareTurn:
    """Forward passes alone, one after another."""

    p50_ns: float
    hz: float


@dataclass(slots=True)
class Case:
    """One pipeline, and what was measured of it."""

    name: str
    options: Pipeline
    ready: Ready
    pace_hz: float | None
    """Starts a second of the bare forward passes: the source's pace."""
    loop: list[Tally] = field(default_factory=list)
    bare: list[BareTurn] = field(default_factory=list)
    bare_ns: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Loop / bare, P50, turn by turn."""
        pairs = zip(self.loop, self.bare, strict=True)
        return [
            loop.latency.percentile(50) / bare.p50_ns for loop, bare in pairs if loop.latency.count
        ]

    @property
    def throughput_ratios(self) -> list[float]:
        """Loop / bare, frames a second, turn by turn."""
        return [loop.fps / bare.hz for loop, bare in zip(self.loop, self.bare, strict=True)]


def measure_loops(
    pipelines: Mapping[str, Pipeline],
    plan: LoopPlan,
    *,
    device: str | None,
    on_turn: Callable[[], None],
) -> list[Case]:
    """Run these pipelines side by side, and their forward passes alone, in turns.

    The workers are those of `edge run`, started anew for each turn; while they rest, each model
    is run alone on the engine and threads that its worker took, paced as its source is. `device`
    names whose tuning counts. Raises what made a worker or a model fail.
    """
    with contextlib.ExitStack() as stack:
        cases = _look(pipelines, plan, device)
        probes = []
        for case in cases:
            ready = case.ready
            path = case.options.model.path
            probe = Probe(Subject(path, ready.engine, ready.engine_version, ready.threads))
            stack.callback(probe.close)
            probes.append(probe)

        def take_loops() -> None:
            with LoopRun() as run:
                for case, tally in zip(cases, _turn(run, pipelines, plan, device)[1], strict=True):
                    case.loop.append(tally)

        def take_bare() -> None:
            for case, probe in zip(cases, probes, strict=True):
                _take_bare(case, probe, plan)

        taken = dict.fromkeys((take_loops, take_bare), 0)
        for take in in_turns(list(taken), lambda take: taken[take] < plan.turns):
            take()
            taken[take] += 1
            on_turn()
    return cases


def _look(pipelines: Mapping[str, Pipeline], plan: LoopPlan, device: str | None) -> list[Case]:
    """Run them for a turn that does not count: which engine they take, how fast frames come."""
    with LoopRun() as run:
        readies, tallies = _turn(run, pipelines, plan, device)
    cases = []
    for (name, options), ready, tally in zip(pipelines.items(), readies, tallies, strict=True):
        rates = [source.rate for source in options.all_sources.values() if source.rate is not None]
        pace_hz = (sum(rates) or tally.fps or None) if options.live else None
        cases.append(Case(name, options, ready, pace_hz))
    return cases


def _turn(
    run: LoopRun, pipelines: Mapping[str, Pipeline], plan: LoopPlan, device: str | None
) -> tuple[list[Ready], list[Tally]]:
    workers = [run.start(name, options, device=device) for name, options in pipelines.items()]
    for worker in workers:
        try:
            run.warm(worker, patient=False)
        except SourceError as error:
            raise SourceError(
                f"{error}; `--input-size WxH` measures with test frames of that size instead"
            ) from error
    for worker in workers:
        worker.begin()
    run.run(plan.turn_s)
    tallies = run.stop(workers)
    return [worker.ready for worker in workers if worker.ready is not None], tallies


def _take_bare(case: Case, probe: Probe, plan: LoopPlan) -> None:
    order = BarePlan(plan.turn_s, case.pace_hz).order
    samples_ns, ended = probe.measure(order._replace(measure_ns=round(plan.turn_s * 1e9)))
    case.bare_ns.append(samples_ns)
    hz = len(samples_ns) * 1e9 / ended.elapsed_ns
    case.bare.append(BareTurn(float(np.median(samples_ns)), hz))
