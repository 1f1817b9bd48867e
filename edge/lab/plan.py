"""Plans a device: measures each pipeline alone, and foretells what all do side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.errors import ConfigError, SourceError
from edge.lab.place import place_of
from edge.lab.loop_run import LoopRun, LoopWorker, Tally
from edge.lab.machine import busy_s
from edge.lab.prediction import Prediction, head_room, predict
from edge.lab.simulation import Cores, Load, SourceLoad
from edge.lab.sources import describe, endless, stand_in, with_source
from edge.lab.workload import calibrated, costs_by_source, passes_by_batch, period_ns
import os

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.wire import Ready


@dataclass(frozen=True, slots=True)
class Measured:
    """One pipeline, and what was measured of it alone."""

    name: str
    options: Pipeline
    """With its sources as they were measured."""
    in_place_of: str | None
    """The source that test frames stood in for."""
    ready: Ready
    tally: Tally
    load: Load
    others_cores: float
    """What everything else on the machine used meanwhile."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a plan says."""

    together: Prediction
    alone: list[Prediction]
    """Each pipeline by itself."""
    head_room: float | None
    """See `edge.lab.prediction.head_room`."""
    others_cores: float


@dataclass(slots=True)
class Planner:
    """Measures the pipelines of a device, one by one, and runs them all where that is asked for."""

    device: Device
    seconds: float
    """How long each is measured."""
    said: Callable[[str], None]
    """Hears a sentence now and then."""
    on_step: Callable[[], None] = lambda: None
    """Called after each measurement."""
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    in_place_of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigError where a source is certainly wrong."""
        for name, pipeline in self.device.pipelines.items():
            try:
                pipeline.source.verify()
            except SourceError as error:
                raise ConfigError(f"pipelines.{name}.source: {error}") from error
            self.pipelines[name] = with_source(pipeline, endless(pipeline.source))

    def measure(self) -> list[Measured]:
        """Run each alone. Raises ModelError, DecodeError and the like for one that cannot be run."""
        return [self._measure(name) for name in self.pipelines]

    def run_together(self) -> tuple[list[Tally], float]:
        """Run all at once, for as long; return what they did, and the cores all else used."""
        with LoopRun() as run:
            workers = [self._start(run, name) for name in self.pipelines]
            found = self._count(run, workers)
        self.on_step()
        return found

    def _measure(self, name: str) -> Measured:
        with LoopRun() as run:
            worker = self._start(run, name)
            (tally,), others = self._count(run, [worker])
        ready = worker.ready
        assert ready is not None  # noqa: S101  it is warm
        if not tally.answered:
            raise SourceError(
                f"pipeline {name}: no frame was answered in {self.seconds:g} s; measure for longer "
                "with --seconds"
            )
        options = self.pipelines[name]
        load = load_of(name, options, ready, tally, refused=worker.refused)
        self.on_step()
        return Measured(name, options, self.in_place_of.get(name), ready, tally, load, others)

    def _start(self, run: LoopRun, name: str) -> LoopWorker:
        """Start a pipeline's worker and warm it up; test frames stand in for a silent source."""
        worker = run.start(name, self.pipelines[name], device=self.device.device)
        try:
            run.warm(worker, patient=False)
        except SourceError as error:
            if worker not in run.workers or name in self.in_place_of:
                raise
            run.leave(worker)
            silent = self.pipelines[name].source
            stand = stand_in(silent)
            self.said(f"{error}; planned with {describe(stand)} instead")
            self.in_place_of[name] = describe(silent)
            self.pipelines[name] = with_source(self.pipelines[name], stand)
            worker = run.start(name, self.pipelines[name], device=self.device.device)
            run.warm(worker)
        return worker

    def _count(self, run: LoopRun, workers: Sequence[LoopWorker]) -> tuple[list[Tally], float]:
        busy, began = -busy_s(), -time.monotonic()
        for worker in workers:
            worker.begin(keep_records=True)
        run.run(self.seconds)
        began += time.monotonic()
        busy += busy_s()
        tallies = run.stop(workers)
        own = sum(tally.cpu_s for tally in tallies)
        return tallies, max(busy - own, 0.0) / began


def load_of(
    name: str, options: Pipeline, ready: Ready, tally: Tally, *, refused: Sequence[str] = ()
) -> Load:
    """Return what the simulation needs to know of a pipeline, from a run of it alone.

    `refused` are the sentences about a place among the processes that was not granted.
    """
    records = tally.records or []
    live = options.source.live
    costs = costs_by_source(records, steady=live)
    cores = Cores(frozenset(os.sched_getaffinity(0)), 4e6)
    rate = options.source.rate
    period = period_ns(records, 0) or (1e9 / rate if rate else None)
    sources = [
        SourceLoad(
            options.source.type,
            period if live else None,
            round(options.deadline_ms * 1e6),
            costs[0],
        )
    ]
    load = Load(
        name,
        sources,
        place_of(options.cpu, cores.numbers, refused),
        drop_late=options.on_late == "drop",
        batches_ns=passes_by_batch(records),
    )
    return calibrated(
        load,
        cores,
        used=tally.cpu_s / tally.seconds,
        threads=ready.threads,
        seconds=max(tally.seconds, 4.0),
    )


def plan(measured: Sequence[Measured], *, seed: int) -> Found:
    """Foretell what these pipelines do side by side."""
    loads = [each.load for each in measured]
    others_cores = sum(each.others_cores for each in measured) / len(measured)
    cores = Cores(frozenset(os.sched_getaffinity(0)), 4e6, others_cores)
    return Found(
        predict(loads, cores, seed=seed),
        [predict([load], cores, seed=seed) for load in loads],
        head_room(loads, cores, seed=seed),
        others_cores,
    )
