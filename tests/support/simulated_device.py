"""A device that is busy, slow or hot by a script, in closed loop with a ladder's controller.

It keeps its own time, so an hour takes a second; all chance comes from one seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edge.supervisor.ladder import LadderController
from edge.supervisor.sensors import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.ladder import Ladder
    from edge.supervisor.ladder import Step

SLICE_MS = 4.0  # of the processor, before another has its turn (HZ=250)
CHANGE_S = 0.2  # a model is loaded within it


class Rates(NamedTuple):
    """What a rung needs."""

    pass_ms: float
    """Forward pass on an idle core."""
    fps: float = 30.0


@dataclass
class SimulatedDevice:
    """Frames of a pipeline on a core that `load(s)` others want as well, at a clock `clock(s)`."""

    ladder: Ladder
    rungs: Sequence[Rates]
    deadline_ms: float = 15.0
    load: Callable[[float], float] = lambda _s: 0.0
    clock: Callable[[float], float] = lambda _s: 1.0
    heating_c: Callable[[float], float] | None = None
    """Degrees that a busy core adds to the ambient, in the end; None feels nothing."""
    stalls: Sequence[float] = ()
    """When the machine stands still for 0.3 s."""
    seed: int = 0
    steps: list[tuple[float, int, Step]] = field(default_factory=list)
    """When, from where, and the step that was made."""
    missed: list[tuple[float, bool]] = field(default_factory=list)
    """When each frame was due, and whether it missed its deadline."""
    degrees: list[float] = field(default_factory=list)
    """How hot it was, second by second."""

    def run(self, seconds: float, *, with_ladder: bool = True) -> SimulatedDevice:
        """Let it run."""
        self._random = random.Random(self.seed)  # noqa: S311
        names = [f"rung-{n}" for n in range(len(self.rungs))]
        controller = LadderController(self.ladder, names, deadlines_ms=[self.deadline_ms], now_s=0)
        now_s, sensed_s, degrees = 0.0, 0.0, 45.0
        self.steps, self.missed, self.degrees = [], [], []
        change: tuple[float, Step] | None = None
        while now_s < seconds:
            if change is not None and now_s >= change[0]:
                self.steps.append((now_s, controller.rung, change[1]))
                controller.arrived(change[1].rung, now_s)
                change = None
            rates = self.rungs[controller.rung]
            latency_ms = 0.4 + self._pass_ms(rates.pass_ms, now_s)
            missed = latency_ms > self.deadline_ms
            self.missed.append((now_s, missed))
            done_s = now_s + latency_ms / 1e3
            controller.frame(done_s, latency_ms=latency_ms, capture_ms=0.1, missed=missed, ran=True)
            if done_s - sensed_s >= 1 and self.heating_c is not None:
                busy = min(rates.pass_ms / self.clock(now_s) * rates.fps / 1e3, 1)
                degrees += (30 + self.heating_c(now_s) * busy - degrees) * (done_s - sensed_s) / 60
                sensed_s = done_s
                self.degrees.append(degrees)
                controller.feel(Reading(degrees, (), ()))
            step = controller.decide(done_s) if with_ladder else None
            if step is not None:
                change = done_s + CHANGE_S, step
            now_s += 1 / rates.fps
        return self

    def _pass_ms(self, pass_ms: float, now_s: float) -> float:
        """How long a frame takes that needs the core so long: others have their turns between."""
        stalled_ms = sum(300 - (now_s - s) * 1e3 for s in self.stalls if s <= now_s < s + 0.3)
        left_ms = pass_ms / self.clock(now_s)
        others = self.load(now_s)
        took_ms = stalled_ms + self._random.uniform(0, SLICE_MS) * min(others, 2)
        while others and left_ms > SLICE_MS * 0.7:
            took_ms += SLICE_MS * (0.7 + others * self._random.uniform(0.6, 1.2))
            left_ms -= SLICE_MS * 0.7
        return took_ms + left_ms * self._random.lognormvariate(0, 0.05)

    def miss_share(self, begin_s: float, end_s: float) -> float:
        """Share of the frames within this time that missed their deadline."""
        judged = [missed for at_s, missed in self.missed if begin_s <= at_s < end_s]
        return sum(judged) / len(judged)

    def rung_at(self, at_s: float) -> int:
        """Return the rung it was on."""
        return next((step.rung for when, _, step in reversed(self.steps) if when <= at_s), 0)
