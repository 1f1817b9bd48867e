"""Notices frames that a fixed-rate source must have lost, from the gaps between its stamps."""

from collections import deque
from statistics import median

KNOWN_INTERVALS = 31  # what the period is told from
ALIKE = 0.2
LONG = 1.75  # periods; a shorter gap is jitter, or exposure getting longer


class Period:
    """The usual interval between a source's frames: the median of the recent ones."""

    def __init__(self) -> None:
        self._intervals: deque[int] = deque(maxlen=KNOWN_INTERVALS)
        self.restart()

    def restart(self) -> None:
        """Forget what was: the source was opened anew."""
        self._intervals.clear()
        self._last_ns: int | None = None
        self.ns = 0.0
        """Nanoseconds; 0 while too few intervals are known."""
        self.even = False
        """Whether half of the recent intervals lie within a fifth of it: one can rely on it."""

    def take(self, captured_ns: int) -> int:
        """Take in a capture time; return the interval before it, 0 for the first."""
        if self._last_ns is None:
            self._last_ns = captured_ns
            return 0
        interval_ns = captured_ns - self._last_ns
        self._last_ns = captured_ns
        self._intervals.append(interval_ns)
        if len(self._intervals) >= KNOWN_INTERVALS // 2:
            ordered = sorted(self._intervals)
            quarter = len(ordered) // 4
            self.ns = median(ordered)
            self.even = ordered[-1 - quarter] - ordered[quarter] <= ALIKE * self.ns
        return interval_ns


class StallWatch:
    """Counts the frames missing between consecutive capture times.

    The period is the median of the recent intervals, so a camera that slows down in the
    dark is not taken for one that stalls: neither is an interval as long as the one before it.
    Frames that arrive in a burst after a gap were late, not lost: they pay back its count.
    """

    def __init__(self) -> None:
        self.period = Period()
        self._pending = 0
        self._long_ns = 0

    def restart(self) -> None:
        """Forget what was: the source was opened anew."""
        self.period.restart()
        self._pending = 0
        self._long_ns = 0

    def gap(self, captured_ns: int) -> int:
        """Take in a capture time; return how many frames are now known to be lost before it."""
        period_ns = self.period.ns
        interval_ns = self.period.take(captured_ns)
        if not period_ns:
            return 0
        if interval_ns < period_ns / 2:
            self._pending = max(self._pending - 1, 0)
            return 0
        lost, self._pending = self._pending, 0
        long_before_ns, self._long_ns = self._long_ns, 0
        if interval_ns < LONG * period_ns:
            return lost
        self._long_ns = interval_ns
        if abs(interval_ns - long_before_ns) <= ALIKE * interval_ns:
            return 0  # two in a row that are alike: the camera's new pace, and no stall
        self._pending = round(interval_ns / period_ns) - 1
        return lost
