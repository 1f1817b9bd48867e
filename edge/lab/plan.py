"""Plans a device: measures each pipeline alone, and foretells what all do side by side."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.errors import SourceError
from edge.lab.loop_run import LoopRun
from edge.lab.machine import busy_s
from edge.lab.prediction import all_answered, head_room, predict
from edge.lab.simulation import Cores
from edge.lab.slices import slice_ns
from edge.lab.sources import describe, endless, stand_in, verify
from edge.lab.workload import load_of, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.lab.loop_run import LoopWorker, Tally
    from edge.lab.prediction import Prediction
    from edge.lab.simulation import Load, LoadOutcome
    from edge.wire import Ready


@dataclass(frozen=True, slots=True)
class Measured:
    """One pipeline, and what was measured of it alone."""

    name: str
    options: Pipeline
    """With its sources as they were measured."""
    in_place_of: dict[str, str]
    """The sources that test frames stood in for, described."""
    ready: Ready
    load: Load


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pipelines will do."""

    measured: list[Measured]
    cores: Cores
    """Who else used them is on average over the measurements."""
    together: Prediction
    alone: list[Prediction]
    """Each pipeline by itself, without other processes."""
    head_room: float | None
    """See `edge.lab.prediction.head_room`."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the pipelines really did side by side."""

    seconds: float
    outcomes: list[LoadOutcome]
    others: float
    """How many cores other processes used meanwhile."""


class Planner:
    """Measures the pipelines of a device one by one, and runs all of them where asked to."""

    def __init__(
        self,
        device: Device,
        *,
        seconds: float,
        said: Callable[[str], None],
        on_step: Callable[[], None],
    ) -> None:
        """`seconds` is how long each is measured; `said` hears a sentence now and then.

        `on_step` is called after each measurement. Raises ConfigError where a source is certainly
        wrong.
        """
        self._device = device.device
        self._seconds = seconds
        self._said = said
        self._on_step = on_step
        self._pipelines = {}
        self._in_place_of: dict[str, dict[str, str]] = {}
        for name, pipeline in device.pipelines.items():
            verify(name, pipeline)
            self._pipelines[name] = pipeline.with_sources(endless)

    def plan(self, *, seed: int) -> Plan:
        """Measure each alone, and foretell. Raises ModelError and the like for what cannot run."""
        cores = Cores(frozenset(os.sched_getaffinity(0)), slice_ns())
        measured, others = [], 0.0
        for name in self._pipelines:
            with LoopRun() as run:
                worker = self._start(run, name, on_late="run")
                (tally,), used = self._count(run, [worker])
            drop_late = self._pipelines[name].on_late == "drop"
            ready, load = worker.ready, load_of(worker, tally, cores, drop_late=drop_late)
            assert ready is not None  # noqa: S101  it is warm
            found = self._in_place_of.get(name, {})
            measured.append(Measured(name, worker.options, found, ready, load))
            others += used / len(self._pipelines)
        return foretell(measured, replace(cores, others=others), seed=seed)

    def run(self) -> Run:
        """Run all at once, for as long as each was measured."""
        with LoopRun() as run:
            workers = [self._start(run, name) for name in self._pipelines]
            tallies, others = self._count(run, workers)
        pairs = zip(workers, tallies, strict=True)
        outcomes = [outcome_of(worker.options, tally) for worker, tally in pairs]
        return Run(tallies[0].seconds, outcomes, others)

    def _start(self, run: LoopRun, name: str, **changed: object) -> LoopWorker:
        """Start a pipeline's worker and warm it up; test frames stand in for silent sources.

        `changed` are options of the pipeline that are others here.
        """
        options = self._pipelines[name].model_copy(update=changed)
        worker = run.start(name, options, device=self._device)
        try:
            run.warm(worker, patient=False)
            worker.refuse_silence()
        except SourceError as error:
            if name in self._in_place_of or any(error is w.error for w in run.workers[:-1]):
                raise
            silent = set(worker.silent)
            run.leave(worker)
            self._replace(name, silent, error)
            options = self._pipelines[name].model_copy(update=changed)
            worker = run.start(name, options, device=self._device)
            run.warm(worker)
        return worker

    def _replace(self, name: str, silent: set[str], error: SourceError) -> None:
        """Let test frames stand in for the sources that are silent, or for the only one."""
        old = self._pipelines[name]
        changed = {
            each: stand_in(source)
            for each, source in old.all_sources.items()
            if each in silent or len(old.all_sources) == 1
        }
        self._in_place_of[name] = {each: describe(old.all_sources[each]) for each in changed}
        instead = ", ".join(map(describe, changed.values()))
        self._said(f"{error}; planned with {instead} instead")
        by_id = {id(source): changed.get(each) for each, source in old.all_sources.items()}
        self._pipelines[name] = old.with_sources(lambda source: by_id[id(source)] or source)

    def _count(self, run: LoopRun, workers: Sequence[LoopWorker]) -> tuple[list[Tally], float]:
        """Let them run; return what each did, and how many cores all other processes used."""
        began_s, busy_before_s = time.monotonic(), busy_s()
        for worker in workers:
            worker.begin(keep_records=True)
        run.run(self._seconds)
        passed_s, all_s = time.monotonic() - began_s, busy_s() - busy_before_s
        tallies = run.stop(workers)
        self._on_step()
        others_s = all_s - sum(tally.cpu_s for tally in tallies)
        return tallies, max(others_s, 0.0) / passed_s


def foretell(measured: Sequence[Measured], cores: Cores, *, seed: int) -> Plan:
    """Return what these pipelines will do side by side, and each alone."""
    loads = [each.load for each in measured]
    together = predict(loads, cores, seed=seed)
    undisturbed = replace(cores, others=0.0)
    alone = [predict([load], undisturbed, seed=seed) for load in loads]
    room = head_room(loads, cores, seed=seed, fits=all_answered(loads, together))
    return Plan(list(measured), cores, together, alone, room)
