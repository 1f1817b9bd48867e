"""Measures what the flight recorder costs a frame, with and without it in turns, in one run.

    python -m recorder MODEL [--seconds 20]

The loop of a worker runs the model on test frames of 1280x720, paced at 30 a second and as fast as
possible. Every so many frames its recorder is taken out, or put back. It prints the CPU time of
a frame on either side (of the process: all its threads), the median from capture to result, and
their ratios; and the time that was spent within the recorder's own methods, timed from outside.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.config.pipeline import Pipeline
from edge.wire import Done, Record
from edge.worker.loop import Loop
from edge.worker.prepare import prepare, quiet_python
from edge.worker.recorder import Recorder

METHODS = ("capturing", "inferring", "rehearse", "done", "resting")
PACES: dict[str, tuple[float | None, int]] = {
    # frames a second, and frames in a turn
    "paced, 30 frames a second": (30, 15),
    "as fast as possible": (None, 250),
}


class Switched(Recorder):
    """A recorder that can be taken out, and can be timed."""

    def __init__(self) -> None:
        super().__init__()
        real = {name: getattr(self, name) for name in METHODS}
        self._ways: dict[str, dict[str, Callable[..., Any]]] = {
            "with": real,
            "without": dict.fromkeys(METHODS, lambda *_: 0),
            "timed": {name: self._timed(way) for name, way in real.items()},
        }
        self.inside_ns = 0

    def _timed(self, way: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began_ns = time.perf_counter_ns()
            result = way(*arguments)
            self.inside_ns += time.perf_counter_ns() - began_ns
            return result

        return timed

    def switch(self, which: str) -> None:
        """Go over to `with`, `without` or `timed`."""
        for name, way in self._ways[which].items():
            setattr(self, name, way)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="of each pace")
    args = parser.parse_args()
    if not args.model.is_file():
        sys.exit(f"no such model: {args.model}")
    quiet_python()
    for name, (fps, frames) in PACES.items():
        print(f"{args.model.name}, {name}")
        for line in measure(args.model, fps, frames, args.seconds):
            print(f"  {line}")


def measure(model: Path, fps: float | None, frames: int, seconds: float) -> list[str]:
    """Run one pace; return what was found, a line each."""
    source = {"type": "synthetic", "width": 1280, "height": 720}
    source |= {"fps": fps}
    described = {"source": source, "model": {"path": model}, "deadline_ms": 1000}
    options = Pipeline.model_validate(described)
    recorder = Switched()
    turns: dict[str, list[tuple[float, float]]] = {"with": [], "without": [], "timed": []}
    order = ["with", "without", "without", "with"]  # whatever drifts hits both alike
    latencies: list[float] = []
    began = [time.process_time_ns(), 0]
    end = time.monotonic() + seconds
    count = 0

    def tell(record: Record) -> None:
        """Between two frames: end a turn, begin the next."""
        nonlocal count
        if not isinstance(record, Done):
            return
        latencies.append((record.decoded_ns - record.captured_ns) / 1e3)
        if len(latencies) < frames:
            return
        cpu_ns = time.process_time_ns() - began[0]
        which = turn(count)
        if count >= len(order):  # the first turns warm up
            inside = recorder.inside_ns if which == "timed" else 0
            spent_us = (inside or cpu_ns) / frames / 1e3
            turns[which].append((spent_us, statistics.median(latencies)))
        count += 1
        latencies.clear()
        recorder.inside_ns = 0
        recorder.switch(turn(count))
        if time.monotonic() > end:
            loop.stop()
        began[0] = time.process_time_ns()

    def turn(number: int) -> str:
        return "timed" if number % 9 == 8 else order[number % 9 % len(order)]

    prepared = prepare(options)
    loop = Loop(options, prepared, tell, recorder=recorder)
    loop.run()
    return report(turns, frames)


def report(turns: dict[str, list[tuple[float, float]]], frames: int) -> list[str]:
    """Return the figures as lines: medians over the turns."""
    lines = []
    for at, what in enumerate(("CPU time a frame", "P50 capture to result")):
        sides = {side: [turn[at] for turn in turns[side]] for side in ("with", "without")}
        with_it, without = (statistics.median(sides[side]) for side in ("with", "without"))
        pairs = [a / b for a, b in zip(sides["with"], sides["without"], strict=False)]
        low, _, high = statistics.quantiles(pairs, n=4)
        lines.append(
            f"{what}: {with_it:.1f} us with, {without:.1f} us without; ratio of turns side by side "
            f"{statistics.median(pairs):.4f} (quartiles {low:.4f} to {high:.4f}, {len(pairs)})"
        )
    inside = statistics.median(spent for spent, _ in turns["timed"])
    share = inside / statistics.median(spent for spent, _ in turns["without"])
    lines.append(
        f"within the recorder, the timing itself included: {inside:.2f} us a frame, {share:.2%} of "
        f"its CPU time ({frames} frames a turn)"
    )
    return lines


if __name__ == "__main__":
    threading.current_thread().name = "main"
    main()
