"""What the kernel counted for a worker's threads while a frame was on its way."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from edge import flight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.flight import Sample


class Met(NamedTuple):
    """What the kernel counted for a thread in a stretch of time."""

    waited_ns: int | None
    pushed_off: int
    major_faults: int
    minor_faults: int
    counted_ns: int
    """How long the looks are apart that this comes from."""

    def plus(self, other: Met) -> Met:
        """Add what another thread met after it."""
        waited = (self.waited_ns, other.waited_ns)
        return Met(
            None if None in waited else sum(each or 0 for each in waited),
            self.pushed_off + other.pushed_off,
            self.major_faults + other.major_faults,
            self.minor_faults + other.minor_faults,
            max(self.counted_ns, other.counted_ns),
        )


class Kernel:
    """The kernel's counts of each thread, over time."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._of: dict[int, list[Sample]] = {}
        for sample in sorted(samples, key=lambda each: each.at_ns):
            self._of.setdefault(sample.thread, []).append(sample)
        self._at = {thread: [each.at_ns for each in of] for thread, of in self._of.items()}
        self.anyway = {thread: _waits_anyway(of) for thread, of in self._of.items()}
        """The share of its time that a thread usually waits for a core."""

    def between(self, thread: int, begun_ns: int, ended_ns: int) -> Met | None:
        """Return what a thread met in a stretch of time, from the looks before and after it.

        The looks may be further apart than the stretch: what the thread waits anyway, share of
        its time by share of its time, is taken off for the rest. Of it and the engine's own
        threads, which work side by side, the one that waited the longest counts. None where
        there was no look before, or none after.
        """
        at = self._at.get(thread, [])
        before, after = bisect_right(at, begun_ns) - 1, bisect_left(at, ended_ns)
        if before < 0 or after >= len(at):
            return None
        first, last = self._of[thread][before], self._of[thread][after]
        outside_ns = (last.at_ns - first.at_ns) - (ended_ns - begun_ns)
        anyway_ns = round(self.anyway[thread] * outside_ns)
        waited = [max(ns - anyway_ns, 0) for ns in _waited_ns(first, last)]
        return Met(
            max(waited, default=None),
            last.pushed_off - first.pushed_off,
            last.major_faults - first.major_faults,
            last.minor_faults - first.minor_faults,
            last.at_ns - first.at_ns,
        )


def _waits_anyway(samples: Sequence[Sample]) -> float:
    """Return the share of its time that a thread usually waits: it wakes up for every frame."""
    shares = [
        max(_waited_ns(first, last), default=0) / max(last.at_ns - first.at_ns, 1)
        for first, last in pairwise(samples)
    ]
    return median(shares) if shares else 0.0


def _waited_ns(first: Sample, last: Sample) -> list[int]:
    """Return how long a thread and those of the engine waited between two looks."""
    told = [(first.waited_ns, last.waited_ns)]
    if len(first.engine_waited_ns) == len(last.engine_waited_ns):
        told += zip(first.engine_waited_ns, last.engine_waited_ns, strict=True)
    return [then - now for now, then in told if flight.UNKNOWN not in (now, then)]
