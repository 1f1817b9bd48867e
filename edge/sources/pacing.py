"""When frames are due: by a clock of our own, and by the rhythm of a source that has one."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    from edge.latency.stalls import Period


NAP_NS = 50_000_000  # how long `stop` may go unheard
# A sleeping core comes back some 80 us late, and a clock that is late would be counted as our
# latency. So we wake up early and watch the clock, for at most a hundredth of the time.
SPIN_NS = 150_000
KNOWN_DELAYS = 31  # between capture and arrival, that the least is told from


def sleep_until(due_ns: int, stop: threading.Event, *, spin_ns: int = 0) -> bool:
    """Sleep until a moment on the monotonic clock; False when it is past, or `stop` was set.

    `spin_ns` is how long before it to wake up and look at nothing but the clock.
    """
    if due_ns <= time.monotonic_ns():
        return False
    while (early_ns := due_ns - time.monotonic_ns() - spin_ns) > 0:
        if early_ns > NAP_NS:
            stop.wait((early_ns - NAP_NS) / 1e9)
        else:  # a bare sleep wakes up sooner than an Event does
            time.sleep(early_ns / 1e9)
        if stop.is_set():
            return False
    while time.monotonic_ns() < due_ns:
        pass
    return True


class Pacer:
    """The clock of a source that has a rate but no hardware: frames are due on time or lost.

    A frame's capture time is the moment it was due, however late we look: a stall is then
    part of that frame's latency. Frames that fell due before it and were never taken are
    lost, and counted here; each frame is one or the other.
    """

    def __init__(self, fps: float) -> None:
        self.period_ns = round(1e9 / fps)
        self.lost = 0
        self._spin_ns = min(SPIN_NS, self.period_ns // 100)
        self._start_ns = 0
        self._last: int | None = None

    def next(self, stop: threading.Event) -> tuple[int, int] | None:
        """Wait for the next frame: its index and the time it was due, in monotonic ns.

        None when `stop` was set meanwhile.
        """
        now_ns = time.monotonic_ns()
        if self._last is None:
            self._start_ns = now_ns
            self._last = 0
            return 0, now_ns
        index, due_ns = self._coming(now_ns)
        if not sleep_until(due_ns, stop, spin_ns=self._spin_ns) and stop.is_set():
            return None
        self.lost += index - self._last - 1
        self._last = index
        return index, due_ns

    @property
    def due_ns(self) -> int | None:
        """When the next frame is due; None before the first."""
        return None if self._last is None else self._coming(time.monotonic_ns())[1]

    def _coming(self, now_ns: int) -> tuple[int, int]:
        """Return index and due time of the frame that `next` would give."""
        newest = math.floor((now_ns - self._start_ns) / self.period_ns)
        index = max((self._last or 0) + 1, newest)
        return index, self._start_ns + index * self.period_ns


class Rhythm:
    """Foretells when the next frame will be there, of a source with hardware of its own.

    A period after the last was captured, and then as much later as frames come at the least:
    one that was fetched late says nothing of how long it had lain there.
    """

    def __init__(self, period: Period) -> None:
        """`period` is that of the capture times; whoever made it feeds it."""
        self._period = period
        self._delays_ns: deque[int] = deque(maxlen=KNOWN_DELAYS)
        self._captured_ns = 0

    def take(self, captured_ns: int, *, arrived_ns: int) -> None:
        """Take in when a frame was captured, and when we had it."""
        self._captured_ns = captured_ns
        self._delays_ns.append(arrived_ns - captured_ns)

    @property
    def due_ns(self) -> int | None:
        """When the next frame will be there; None while the period is unknown or uneven."""
        if not self._period.even:
            return None
        return self._captured_ns + round(self._period.ns) + min(self._delays_ns)

    def restart(self) -> None:
        """Forget what was: the source was opened anew."""
        self._delays_ns.clear()
