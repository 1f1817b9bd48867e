"""Measures what each further source of a pipeline costs, beside a pipeline for each source.

    python tests/benchmarks/crowd.py MODEL [--sources 1,2,4,8] [--fps 10] [--seconds 5]

Every row is a run of its own: so many sources of 640x480 at so many frames a second each, served by
one engine in one worker, or each by a worker of its own. It prints the processor time a frame, the
resident memory of all workers and what each source more has added to it, the P99 from capture to
result, the share of frames answered in time, and by how much the most served source was served
more often than the least served. With `--load` the rate is chosen so that the engine has so much
to do, in percent: at 200 nobody may starve.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config.pipeline import Pipeline
from edge.lab.loop_run import LoopRun, Tally
from edge.supervisor.memory import rss_bytes
from edge.wire import Done

if TYPE_CHECKING:
    from collections.abc import Sequence

MB = 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--sources", default="1,2,4,8")
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--load", type=float, help="in percent, instead of --fps")
    parser.add_argument("--deadline-ms", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    counts = [int(word) for word in args.sources.split(",")]
    pass_s = usual_pass_s(args) if args.load else 0
    print("| sources | workers | fps each | CPU ms/frame | RSS MB | + MB/source | P99 ms |", end="")
    print(" in time | most/least served |\n|---|---|---|---|---|---|---|---|---|")
    for workers_each in (False, True):
        first_mb = 0.0
        for sources in counts:
            if workers_each and sources == 1:
                continue
            fps = args.load / 100 / pass_s / sources if args.load else args.fps
            found = measure(args, sources, fps, workers_each=workers_each)
            first_mb = first_mb or found.rss_mb
            more = (found.rss_mb - first_mb) / (sources - counts[0]) if sources > counts[0] else 0
            workers = sources if workers_each else 1
            p99_ns = found.tally.latency.supported_percentile(99)
            print(
                f"| {sources} | {workers} | {fps:.1f} | {found.tally.cpu_ms:.2f} "
                f"| {found.rss_mb:.0f} | {f'{more:.1f}' if more else ''} "
                f"| {f'{p99_ns / 1e6:.1f}' if p99_ns else ''} "
                f"| {found.in_time:.1%} | {found.unfairness:.2f} |",
                flush=True,
            )


class Found:
    """What one run gave."""

    def __init__(self, tallies: Sequence[Tally], rss_mb: float) -> None:
        self.tally = Tally.of(tallies)
        self.rss_mb = rss_mb
        frames = self.tally.answered + sum(self.tally.dropped.values())
        self.in_time = (self.tally.answered - self.tally.late) / frames
        served = Counter((n, done.source) for n, each in enumerate(tallies) for done in told(each))
        self.unfairness = max(served.values()) / min(served.values())


def measure(args: argparse.Namespace, sources: int, fps: float, *, workers_each: bool) -> Found:
    """Run so many sources for a while, after a second that does not count."""
    source = frames_of(fps)
    with LoopRun() as run:
        if workers_each:
            alone = pipeline(args, source=source)
            workers = [run.start(str(number), alone) for number in range(sources)]
        else:
            named = {f"s{number}": source for number in range(sources)}
            workers = [run.start("all", pipeline(args, sources=named))]
        for worker in workers:
            run.warm(worker)
        run.run(1)
        for worker in workers:
            worker.begin(keep_records=True)
        run.run(args.seconds)
        rss = sum(rss_bytes(worker.process.process.pid) or 0 for worker in workers)
        return Found(run.stop(workers), rss / MB)


def usual_pass_s(args: argparse.Namespace) -> float:
    """Return for how long a frame keeps the engine busy."""
    with LoopRun() as run:
        worker = run.start("alone", pipeline(args, source=frames_of(20)))
        run.warm(worker)
        worker.begin(keep_records=True)
        run.run(2)
        (tally,) = run.stop([worker])
    return statistics.median(done.decoded_ns - done.taken_ns for done in told(tally)) / 1e9


def frames_of(fps: float) -> dict[str, Any]:
    """Return a source's options."""
    return {"type": "synthetic", "width": 640, "height": 480, "fps": fps}


def pipeline(args: argparse.Namespace, **sources: Any) -> Pipeline:
    """Return the options of a pipeline with these sources."""
    fields = {"model": {"path": args.model}, "decode": {"type": "raw"}, "rehearse": "never"}
    return Pipeline.model_validate({**sources, **fields, "deadline_ms": args.deadline_ms})


def told(tally: Tally) -> list[Done]:
    """Return the results that were counted."""
    return [record for record in tally.records or () if isinstance(record, Done)]


if __name__ == "__main__":
    main()
