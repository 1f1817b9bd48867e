"""Which faults happen, in which order: the same for the same seed, whatever the machine does."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PIPELINES = ("steady", "camera", "stream")
OVERLAP = 0.15  # of all steps have two faults at once
# Who dies again soon after a restart waits before the next one, and longer each time. Faults are
# dealt so that nobody is struck more than twice within so many steps.
STRIKES, STEPS = 2, 6
HEALTHY_S = 12.0


class Kind(NamedTuple):
    """A kind of fault."""

    name: str
    weight: float
    """How often it comes, beside the others."""
    touches: str
    """Two faults at once never touch the same."""
    needs_root: bool = False


KINDS = (
    Kind("worker-kill", 10, "worker"),
    Kind("worker-stop", 4, "worker"),
    Kind("worker-pause", 4, "worker"),
    Kind("supervisor-kill", 10, "supervisor"),
    Kind("supervisor-stop", 4, "supervisor"),
    Kind("restart", 3, "supervisor"),
    Kind("broker-kill", 8, "broker"),
    Kind("broker-cut", 8, "broker"),
    Kind("broker-stall", 5, "broker"),
    Kind("camera-cut", 6, "camera"),
    Kind("camera-stall", 4, "camera"),
    Kind("stream-cut", 6, "stream"),
    Kind("disk-full", 2, "broker"),
    Kind("runtime-full", 4, "broker", needs_root=True),
    Kind("state-read-only", 2, "supervisor", needs_root=True),
    Kind("hostile-commands", 6, "commands"),
    Kind("steering", 4, "commands"),
    Kind("reload", 5, "yaml"),
    Kind("reload-wrong", 4, "yaml"),
    Kind("clock-jump", 5, "clock"),
)
NAMES = tuple(kind.name for kind in KINDS)
STRIKING = {"worker-kill", "worker-stop", "supervisor-kill", "supervisor-stop", "state-read-only"}


class Fault(NamedTuple):
    """One fault: its particulars follow from its own seed."""

    number: int
    kind: str
    pipeline: str
    """Whose worker is struck, where a worker is."""
    seed: int

    def chance(self) -> random.Random:
        """Return what its particulars are drawn from."""
        return random.Random(self.seed)  # noqa: S311

    def __str__(self) -> str:
        return f"#{self.number} {self.kind}" + (f" ({self.pipeline})" if self._on_worker else "")

    @property
    def _on_worker(self) -> bool:
        return self.kind.startswith("worker")


class Step(NamedTuple):
    """One fault, or two at once."""

    faults: tuple[Fault, ...]
    offset_s: float
    """How long after the first the second begins."""
    rest_s: float
    """How long nothing happens afterwards."""


def plan(seed: int, count: int, names: Collection[str] = NAMES) -> Iterator[Step]:
    """Yield steps with `count` faults in all: each kind once, then by weight.

    A shorter plan of the same seed and kinds is the beginning of a longer one.
    """
    chance = random.Random(seed)  # noqa: S311
    kinds = [kind for kind in KINDS if kind.name in names]
    first = chance.sample(kinds, len(kinds))
    struck: deque[list[str]] = deque(maxlen=STEPS)
    number = 0
    while number < count:
        step: list[Fault] = []
        for place in range(1 + (not first and chance.random() < OVERLAP)):
            taken = [kind.touches for kind in kinds if place and kind.name == step[0].kind]
            among = first or [kind for kind in kinds if kind.touches not in taken]
            fault = _draw(chance, number + 1, among, struck)
            if fault is None:
                break
            first = [kind for kind in first if kind.name != fault.kind]
            if number < count:
                step.append(fault)
                number += 1
        struck.append([_victim(fault) for fault in step if fault.kind in STRIKING])
        if step:
            yield Step(tuple(step), chance.uniform(0, 1.0), chance.uniform(0, 0.4))
        else:  # whoever could be struck now was struck too often
            yield Step((), 0, HEALTHY_S / STEPS)


def _draw(
    chance: random.Random, number: int, among: list[Kind], struck: deque[list[str]]
) -> Fault | None:
    """Return a fault that strikes nobody too often; None where there is none."""
    left = list(among)
    while left:
        kind = chance.choices(left, [each.weight for each in left])[0]
        left.remove(kind)
        fault = Fault(number, kind.name, chance.choice(PIPELINES), chance.getrandbits(32))
        times = sum(victims.count(_victim(fault)) for victims in struck)
        if fault.kind not in STRIKING or times < STRIKES:
            return fault
    return None


def _victim(fault: Fault) -> str:
    return fault.pipeline if fault.kind.startswith("worker") else "supervisor"
