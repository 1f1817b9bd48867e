"""The windows that the vibration model is trained and measured on: machines, speeds and loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.workshop.log_spectrum import log_spectrum
from edge.workshop.rotating_machine import (
    ADDED_G,
    FAULTS,
    SEVERITIES,
    SPEEDS_HZ,
    Fault,
    Machine,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOADS = (0.3, 1.0)
GAP_HZ = (30.0, 32.0)  # speeds that a second network never hears
OUTSIDE_HZ = (50.0, 55.0)  # faster than any training
FAULTY = tuple((fault, severity) for fault in FAULTS for severity in range(len(SEVERITIES)))


@dataclass(frozen=True)
class Plan:
    """How much is generated, and how long is trained on it."""

    training: tuple[int, int]  # machines, windows of each
    validation: tuple[int, int]
    held_out: tuple[int, int]
    faulty: int  # windows of each held-out machine with each fault in each severity
    epochs: int

    def machines(self, part: str) -> range:
        """Return the numbers of a part's machines; no machine is in two parts."""
        first = 0
        for name in ("training", "validation", "held_out"):
            count = int(getattr(self, name)[0])
            if name == part:
                return range(first, first + count)
            first += count
        raise KeyError(part)


@dataclass(frozen=True)
class Part:
    """Windows of some machines, as the model takes them."""

    bands_db: NDArray[np.float32]  # [n, BANDS]
    speeds_hz: NDArray[np.float64]  # [n]

    def __len__(self) -> int:
        return len(self.bands_db)

    @property
    def in_gap(self) -> NDArray[np.bool_]:
        """Which of them turn at a speed that the second network never hears, [n]."""
        return (self.speeds_hz >= GAP_HZ[0]) & (self.speeds_hz < GAP_HZ[1])

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """Return some of them."""
        return Part(self.bands_db[chosen], self.speeds_hz[chosen])


@dataclass(frozen=True)
class Signals:
    """All that is generated for a model."""

    training: Part
    validation: Part
    held_out: Part
    outside: Part  # the held-out machines, too fast
    faulty: dict[tuple[Fault, int], Part]  # the held-out machines, by fault and severity

    @staticmethod
    def generate(seed: int, plan: Plan) -> Signals:
        """Return the same for the same seed and plan."""
        held_out = plan.machines("held_out")
        return Signals(
            training=hear(seed, plan.machines("training"), plan.training[1]),
            validation=hear(seed, plan.machines("validation"), plan.validation[1]),
            held_out=hear(seed, held_out, plan.held_out[1]),
            outside=hear(seed, held_out, plan.faulty, speeds_hz=OUTSIDE_HZ),
            faulty={kind: hear(seed, held_out, plan.faulty, kind) for kind in FAULTY},
        )


def hear(
    seed: int,
    machines: range,
    windows: int,
    kind: tuple[Fault, int] | None = None,
    speeds_hz: tuple[float, float] = SPEEDS_HZ,
) -> Part:
    """Record windows as `record` does, and return their features."""
    recorded, speeds = record(seed, machines, windows, kind, speeds_hz)
    return Part(log_spectrum(recorded), speeds)


def record(
    seed: int,
    machines: range,
    windows: int,
    kind: tuple[Fault, int] | None = None,
    speeds_hz: tuple[float, float] = SPEEDS_HZ,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return so many windows of each machine at drawn speeds and loads, and the speeds.

    Windows in g, [n, WINDOW]; the first of a machine are the same however many are wanted.
    """
    recorded, speeds = [], []
    fault, added_g = (kind[0], ADDED_G[kind[0]][kind[1]]) if kind else (None, 0.0)
    series = FAULTY.index(kind) + 1 if kind else 0
    for number in machines:
        machine = Machine.build(seed, number)
        rng = np.random.default_rng([seed, number, series, int(speeds_hz[0])])
        for _ in range(windows):
            speed_hz, load = rng.uniform(*speeds_hz), rng.uniform(*LOADS)
            recorded.append(
                machine.record(rng, speed_hz=speed_hz, load=load, fault=fault, added_g=added_g)
            )
            speeds.append(speed_hz)
    return np.stack(recorded), np.array(speeds)
