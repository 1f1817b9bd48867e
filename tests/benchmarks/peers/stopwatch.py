"""What a peer counts of itself: a window of frames after its warm-up, its CPU time and memory.

Standard library only: it also runs in MediaPipe's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

WARM_UP_S = 1.5  # left out of every turn


class Stopwatch:
    """Times frames, and says when the turn is over."""

    def __init__(self, seconds: float) -> None:
        self._begin_ns = time.monotonic_ns() + round(WARM_UP_S * 1e9)
        self._end_ns = self._begin_ns + round(seconds * 1e9)
        self._cpu_ns: int | None = None
        self._now_ns = 0
        self.latencies_us: list[int] = []
        self.answers: dict[int, int] = {}
        self.extra_us: dict[str, list[int]] = {}
        self.extra: dict[str, float] = {}

    def running(self) -> bool:
        """Whether there is time for another frame; opens the window after the warm-up."""
        self._now_ns = time.monotonic_ns()
        if self._cpu_ns is None and self._now_ns >= self._begin_ns:
            self._begin_ns, self._cpu_ns = self._now_ns, time.process_time_ns()
        return self._now_ns < self._end_ns

    def ready(self, since_ns: int, *, picture: int = 0, answer: int | None = None) -> None:
        """Take note that a frame has its result; `since_ns` is when its time began."""
        now_ns = time.monotonic_ns()
        if self._cpu_ns is not None:
            self.latencies_us.append((now_ns - since_ns) // 1000)
        if answer is not None:
            self.answers.setdefault(picture, answer)

    def also(self, name: str, since_ns: int) -> None:
        """Take note of another time of this frame, from `since_ns` until now."""
        if self._cpu_ns is not None:
            self.extra_us.setdefault(name, []).append((time.monotonic_ns() - since_ns) // 1000)

    def report(self) -> str:
        """Return what was counted, as one line of JSON."""
        assert self._cpu_ns is not None, "the turn was shorter than its warm-up"
        cpu_ns = time.process_time_ns() - self._cpu_ns
        return json.dumps(
            {
                "latencies_us": self.latencies_us,
                "seconds": (self._now_ns - self._begin_ns) / 1e9,
                "cpu_ns": cpu_ns,
                "pss_bytes": pss_bytes(os.getpid()),
                "answers": self.answers,
                "extra_us": self.extra_us,
                "extra": self.extra,
            }
        )


def arguments() -> argparse.Namespace:
    """Return what the harness tells every peer: model, frames, pace, seconds, broker's port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--feed", required=True)
    parser.add_argument("--frames", type=Path, required=True, help="folder of the frames")
    parser.add_argument("--fps", type=float, help="without it as fast as possible")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--port", type=int, required=True, help="of the broker")
    return parser.parse_args()


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process, from proc(5) smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/smaps_rollup names no Pss")
