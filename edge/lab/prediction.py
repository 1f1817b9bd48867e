"""Foretells what pipelines will do side by side, from what each costs alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.lab.loop_run import HELD
from edge.lab.simulation import Cores, Load, LoadOutcome, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.lab.simulation import SourceOutcome

RUNS = 10  # each with other phases of the sources
FRAMES, MOST_FRAMES = 12_000, 60_000  # to be played through, in all runs together
FEWEST_PERIODS = 20  # of the slowest source, in each run
LEAST_S = 2.0
SOUNDINGS = 5  # of the head-room, after its bounds are known
SOUNDING = 0.3  # of the frames, in each
LEAST_RATE, MOST_RATE = 1 / 16, 64.0
FULL = 0.98  # of the cores


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the pipelines do side by side."""

    seconds: float
    """All runs together."""
    outcomes: list[LoadOutcome]
    """All runs together, pipeline by pipeline."""
    worst: list[list[float]]
    """For each source of each pipeline, the share of `unanswered` frames in its worst run."""

    def engine(self, pipeline: int) -> float:
        """Return the part of the time that a pipeline's engine is in forward passes."""
        return self.outcomes[pipeline].engine_ns / (self.seconds * 1e9)

    def cores(self, pipeline: int) -> float:
        """Return how many cores a pipeline uses."""
        return self.outcomes[pipeline].cpu_ns / (self.seconds * 1e9)


def unanswered(source: SourceOutcome) -> float:
    """Return the share of a source's frames without an answer in time, for whatever reason.

    Here those that a newer one replaced count too: they fell due, and nobody answered them.
    """
    return (source.missed + source.mailbox) / source.arrived if source.arrived else 0.0


def all_answered(loads: Sequence[Load], found: Prediction) -> bool:
    """Whether all frames of live sources but one in a hundred are answered in time."""
    return all(
        unanswered(source) <= HELD
        for load, outcome in zip(loads, found.outcomes, strict=True)
        if load.sources[0].period_ns is not None
        for source in outcome.sources
    )


def predict(
    loads: Sequence[Load],
    cores: Cores,
    *,
    seed: int,
    rate: float = 1.0,
    frames: float = FRAMES,
) -> Prediction:
    """Play them through side by side, at `rate` times their rates, several times."""
    seconds = _seconds(loads, frames, rate)
    total: list[LoadOutcome] = []
    worst = [[0.0 for _ in load.sources] for load in loads]
    for generator in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(RUNS)):
        found = simulate(loads, cores, seconds=seconds, generator=generator, rate=rate)
        for place, outcome in enumerate(found):
            shares = map(unanswered, outcome.sources)
            worst[place] = list(map(max, worst[place], shares))
            if place < len(total):
                total[place].add(outcome)
            else:
                total.append(outcome)
    return Prediction(seconds * RUNS, total, worst)


def head_room(loads: Sequence[Load], cores: Cores, *, seed: int, fits: bool) -> float | None:
    """Return how many times faster all live sources could be: `unanswered` stays at 1 % at most.

    `fits` is whether it does at the rates they have. 0 where even the `LEAST_RATE` is too fast,
    `MOST_RATE` where nothing ends it, None without a live source.
    """
    live = [load for load in loads if load.sources[0].period_ns is not None]
    if not live:
        return None
    most = FULL * len(frozenset[int]().union(*(load.place.cores for load in loads))) - cores.others

    def holds(rate: float) -> bool:
        found = predict(loads, cores, seed=seed, rate=rate, frames=FRAMES * SOUNDING)
        used = sum(map(found.cores, range(len(loads))))
        return (len(live) < len(loads) or used < most) and all_answered(loads, found)

    low, high = (1.0, 2.0) if fits else (0.5, 1.0)
    while high > 1 and holds(high):
        if high >= MOST_RATE:
            return MOST_RATE
        low, high = high, high * 2
    while low < 1 and not holds(low):
        if low <= LEAST_RATE:
            return 0.0
        low, high = low / 2, low
    for _ in range(SOUNDINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _seconds(loads: Sequence[Load], frames: float, rate: float) -> float:
    """Return the length of a run in which there are enough frames, and not too many."""
    frames_hz, slowest_s = 0.0, 0.0
    for source in (each for load in loads for each in load.sources):
        if source.period_ns is None:
            frames_hz += 1e9 / max(float(np.mean([sum(cost) for cost in source.costs])), 1.0)
        else:
            frames_hz += 1e9 / source.period_ns * rate
            slowest_s = max(slowest_s, source.period_ns / 1e9 / rate)
    wanted_s = max(frames / RUNS / frames_hz, FEWEST_PERIODS * slowest_s, LEAST_S)
    return min(wanted_s, max(MOST_FRAMES / RUNS / frames_hz, slowest_s))
