"""The place of a worker among all processes of the device, as the kernel grants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.config.cpu import Cpu

NICE_STEP = 1.25  # weight of one nice level to the next: sched(7), "The nice value"


@dataclass(frozen=True, slots=True)
class Place:
    """Which cores a process may use, and what its threads get of them."""

    cores: frozenset[int]
    priority: int = 0
    """Real-time priority; 0 where it shares the cores fairly."""
    weight: float = 1.0
    """Of each thread, where cores are shared fairly."""


def place_of(cpu: Cpu, usable: Iterable[int], refused: Sequence[str] = ()) -> Place:
    """Return the place a worker has on a machine with these usable cores.

    `refused` are the sentences about wishes that were not granted.
    """

    def granted(wish: str) -> bool:
        return not any(f"`cpu.{wish}" in sentence for sentence in refused)

    cores = frozenset(usable)
    if cpu.affinity is not None and granted("affinity"):
        cores = cores.intersection(cpu.affinity) or cores
    if cpu.scheduling == "fifo":
        return Place(cores, cpu.priority if granted("scheduling") else 0)
    return Place(cores, weight=NICE_STEP**-cpu.nice if granted("nice") else 1.0)
