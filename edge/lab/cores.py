"""How the kernel shares the cores of a machine among threads that want to run at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config.cpu import Cpu

NICE_STEP = 1.25  # share of one nice level to the next: sched(7), "The nice value"
ENOUGH = 1e-12


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a process among all others."""

    cores: frozenset[int]
    """Those its threads may use."""
    priority: int = 0
    """Real-time priority; 0 where it shares the cores fairly."""
    weight: float = 1.0
    """Of each of its threads, among those of the same priority."""


class Wish(NamedTuple):
    """Threads that want to run."""

    place: Place
    threads: float
    share: float
    """Of a core, that each of them can use: the rest of the time it sleeps."""


def place_of(cpu: Cpu, usable: Sequence[int], refused: Sequence[str] = ()) -> Place:
    """Return the place a worker has.

    `refused` are the sentences about wishes that were not granted.
    """

    def granted(wish: str) -> bool:
        return not any(f"cpu.{wish}" in sentence for sentence in refused)

    cores = frozenset(usable)
    if cpu.affinity is not None and granted("affinity"):
        cores = cores.intersection(cpu.affinity) or cores
    if cpu.scheduling == "fifo":
        return Place(cores, cpu.priority if granted("scheduling") else 0)
    return Place(cores, weight=NICE_STEP**-cpu.nice if granted("nice") else 1.0)


def speeds(wishes: Sequence[Wish]) -> list[float]:
    """Return at which part of its full speed each of these goes on.

    A fluid picture of Linux' scheduler (A. Parekh, R. Gallager, A Generalized Processor Sharing
    Approach, 1993): a higher priority is served first, within one the shares of all threads rise
    together by their weights, until each has what it can use or its cores are given away (max-min
    fairness, by progressive filling: D. Bertsekas, R. Gallager, Data Networks, 1992, 6.5.2).
    """
    granted = [0.0] * len(wishes)
    open_ = {number for number, wish in enumerate(wishes) if wish.share > ENOUGH}
    limits = _limits([wishes[number].place.cores for number in open_])
    for priority in sorted({wishes[number].place.priority for number in open_}, reverse=True):
        level = {number for number in open_ if wishes[number].place.priority == priority}
        _fill(wishes, granted, level, limits)
    return [
        granted[number] / wish.share if number in open_ else 1.0
        for number, wish in enumerate(wishes)
    ]


def _limits(sets: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return all unions of these: threads confined to one cannot get more than its cores."""
    unions: set[frozenset[int]] = set()
    for each in set(sets):
        unions |= {each} | {each | union for union in unions}
    return list(unions)


def _fill(
    wishes: Sequence[Wish], granted: list[float], level: set[int], limits: list[frozenset[int]]
) -> None:
    """Raise what is granted to each thread of a level, together, as far as it goes."""
    rising = set(level)
    while rising:
        steps: list[tuple[float, set[int]]] = []
        for number in rising:
            wish = wishes[number]
            steps.append(((wish.share - granted[number]) / wish.place.weight, {number}))
        for limit in limits:
            inside = {n for n, wish in enumerate(wishes) if wish.place.cores <= limit}
            if bound := inside & rising:
                free = len(limit) - sum(wishes[n].threads * granted[n] for n in inside)
                pull = sum(wishes[n].threads * wishes[n].place.weight for n in bound)
                steps.append((max(free, 0.0) / pull, bound))
        step = min(size for size, _ in steps)
        for number in rising:
            granted[number] += step * wishes[number].place.weight
        for size, ended in steps:
            if size <= step + ENOUGH:
                rising -= ended
