"""A clock for paced sources that moves on only when somebody sleeps or waits."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from edge.sources import pacing

if TYPE_CHECKING:
    import pytest


class StandingClock(threading.Event):
    """The clock, and at the same time the `stop` that a source waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 5_000_000_000
        self.oversleep_ns = 0
        """How much longer than asked for every sleep and wait takes."""
        self.stop_at_ns: int | None = None
        """When somebody will set it."""

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Make it the clock of every paced source."""
        fake = SimpleNamespace(monotonic_ns=lambda: self.now_ns, sleep=self.sleep)
        patch.setattr(pacing, "time", fake)
        patch.setattr(pacing, "SPIN_NS", 0)  # looking at it does not move it on

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9) + self.oversleep_ns

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        end_ns = self.now_ns + round(timeout * 1e9)
        if self.stop_at_ns is not None and self.stop_at_ns <= end_ns:
            self.now_ns = self.stop_at_ns
            self.set()
            return True
        self.now_ns = end_ns + self.oversleep_ns
        return False
