"""One peer's turn, and what several turns of one peer come to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.latency.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Turn:
    """What one peer did in one window, its warm-up and start left out."""

    latency: Histogram
    """Microseconds from a frame's begin to its result."""
    seconds: float
    cpu_ns: int | None = None
    """User and system time of all its processes, the broker's not."""
    pss_bytes: int | None = None
    first_s: float | None = None
    """From its start as a process to its first prediction at the broker."""
    answers: dict[int, int] = field(default_factory=dict)
    """The best class of each of the pictures, by its number."""
    extra: dict[str, str] = field(default_factory=dict)
    """What is worth a line below the table."""
    throughput: float = 0.0
    p50_us: float | None = None
    """Given where the peer says nothing but its median; else the histogram's."""

    def __post_init__(self) -> None:
        """Take from the histogram what was not given."""
        if not self.throughput:
            self.throughput = self.latency.count / self.seconds
        if self.p50_us is None:
            self.p50_us = self.latency.supported_percentile(50)

    @property
    def p99_us(self) -> int | None:
        """P99; None below 100 frames."""
        return self.latency.supported_percentile(99)

    @property
    def tail(self) -> float | None:
        """P99/P50."""
        return self.p99_us / self.p50_us if self.p99_us and self.p50_us else None

    @property
    def cpu_us(self) -> float | None:
        """CPU time a frame."""
        return self.cpu_ns / self.latency.count / 1e3 if self.cpu_ns else None


Turns = dict[str, list[Turn]]
"""The turns of each peer, in the order in which they were run."""


def merged(turns: list[Turn]) -> Histogram:
    """Return the latencies of all turns together."""
    return Histogram.merged(turn.latency for turn in turns)


def middle(turns: list[Turn], of: Callable[[Turn], float | None]) -> float | None:
    """Return the median over the turns of something that some may not know."""
    known = [value for turn in turns if (value := of(turn)) is not None]
    return statistics.median(known) if known else None


@dataclass(frozen=True)
class Ratio:
    """A ratio with its spread over the turns; each turn is compared with its own neighbour."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(ours: list[Turn], theirs: list[Turn], of: Callable[[Turn], float | None]) -> Ratio | None:
    """Return ours over theirs, turn by turn; None where either does not know it."""
    pairs = [(of(a), of(b)) for a, b in zip(ours, theirs, strict=False)]
    each = [a / b for a, b in pairs if a is not None and b]
    return Ratio(statistics.median(each), min(each), max(each)) if each else None
