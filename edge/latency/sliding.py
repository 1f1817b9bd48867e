"""The frames judged in the last seconds, for decisions that are made while they come."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

ENOUGH_FOR_P99 = 100


class Judged(NamedTuple):
    """A frame that was answered, or dropped because its deadline had passed."""

    at_s: float
    latency_ms: float
    """Capture to result; of a dropped frame, its age by then."""
    missed: bool
    cost_ms: float | None
    """What of it depends on how busy the device is; None where nothing was run."""


class SlidingWindow:
    """The frames of the last `seconds`, of slow sources the last `at_least`.

    Adding a frame and asking for counts and the mean take the same time however many there are.
    """

    def __init__(
        self, seconds: float, *, at_least: int, now_s: float, limit_ms: float | None = None
    ) -> None:
        """`limit_ms` is a latency of its own to be counted, beside the deadline."""
        self._seconds = seconds
        self._at_least = at_least
        self._limit_ms = math.inf if limit_ms is None else limit_ms
        self.restart(now_s)

    def restart(self, now_s: float) -> None:
        """Forget all frames: from now on others are judged."""
        self._began_s = now_s
        self._frames: deque[Judged] = deque()
        self._missed_s: deque[float] = deque()
        self._cost_ms = 0.0
        self._costly = 0
        self.over_limit = 0
        """How many took longer than `limit_ms`."""

    def add(self, frame: Judged) -> None:
        """Take in a frame, and let go of those that are too old."""
        self._count(frame, 1)
        self._frames.append(frame)
        if frame.missed:
            self._missed_s.append(frame.at_s)
        oldest_s = frame.at_s - self._seconds
        while len(self._frames) > self._at_least and self._frames[0].at_s <= oldest_s:
            gone = self._frames.popleft()
            self._count(gone, -1)
            if gone.missed:
                self._missed_s.popleft()

    def _count(self, frame: Judged, sign: int) -> None:
        self.over_limit += sign * (frame.latency_ms > self._limit_ms)
        if frame.cost_ms is not None:
            self._cost_ms += sign * frame.cost_ms
            self._costly += sign

    def full(self, now_s: float) -> bool:
        """Whether it has frames enough, over time enough, to be judged as a whole."""
        return len(self._frames) >= self._at_least and now_s - self._began_s >= self._seconds

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return len(self._frames)

    @property
    def misses(self) -> int:
        """How many of them missed their deadline."""
        return len(self._missed_s)

    @property
    def misses_spread_s(self) -> float:
        """Seconds between the first and the last of the misses; 0 below two."""
        return self._missed_s[-1] - self._missed_s[0] if self._missed_s else 0.0

    @property
    def mean_cost_ms(self) -> float | None:
        """Mean cost of the frames that were run; None when none was."""
        return self._cost_ms / self._costly if self._costly else None

    def p99_ms(self) -> float | None:
        """The latency that 99 of 100 do not exceed; None below 100 frames."""
        if len(self._frames) < ENOUGH_FOR_P99:
            return None
        ordered = sorted(frame.latency_ms for frame in self._frames)
        return ordered[math.ceil(len(ordered) * 0.99) - 1]

    def max_ms(self) -> float | None:
        """The longest latency; None without frames."""
        return max((frame.latency_ms for frame in self._frames), default=None)
