"""Measures what another model costs the one that serves: in its shadow, and in its place.

    PYTHONPATH=tests/support python tests/benchmarks/model_change.py shadow MODEL OTHER
    PYTHONPATH=tests/support python tests/benchmarks/model_change.py swap MODEL OTHER

`shadow` runs MODEL on a synthetic camera, in turns without a shadow and with OTHER in its shadow on
each of the shares, and prints the latencies of each. `swap` goes from one to the other and back, so
many times, under a camera and under a pulled source, and prints for each the longest time between
two results, frames dropped, and the worker's resident memory. A worker of its own without any
broker; nothing is published.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from hosted import Hosted, hosted

from edge.config.pipeline import Pipeline
from edge.latency.histogram import Histogram
from edge.supervisor.memory import rss_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_FRAMES = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("shadow", "swap"))
    parser.add_argument("models", type=Path, nargs=2, metavar="MODEL")
    parser.add_argument("--fps", type=float, default=30, help="of the synthetic camera")
    parser.add_argument("--size", default="640x480", help="of its frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=150, help="of each share in a round")
    parser.add_argument("--shares", default="0.1,1", help="of the frames, for the shadow")
    args = parser.parse_args()
    if args.what == "shadow":
        asyncio.run(_shadow(args))
    else:
        for fps in (args.fps, None):
            asyncio.run(_swap(args, fps))


def _pipeline(args: argparse.Namespace, model: Path, fps: float | None) -> Pipeline:
    width, height = args.size.split("x")
    source = {"type": "synthetic", "width": width, "height": height, "fps": fps}
    return Pipeline.model_validate(
        {"source": source, "model": {"path": model}, "decode": {"type": "classification"}}
    )


async def _shadow(args: argparse.Namespace) -> None:
    serving, other = (_pipeline(args, model, args.fps) for model in args.models)
    shares = [float(share) for share in args.shares.split(",")]
    found: dict[float, tuple[Histogram, list[int]]] = {
        share: (Histogram(), [0, 0, 0, 0]) for share in (0.0, *shares)
    }
    async with hosted(serving) as host:
        await host.until_results(WARM_FRAMES)
        for _ in range(args.rounds):
            for share in shares:  # each beside a stretch without
                await _stretch(host, args.frames, found[0.0])
                await host.pipeline.shadow(other, share)
                await host.until_results(5)
                await _stretch(host, args.frames, found[share])
                host.pipeline.end_shadow()
                await host.until_results(5)
    print("| share | frames | P50 ms | P90 ms | P99 ms | max ms | dropped | late | run | skipped |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for share, (histogram, (dropped, late, run, skipped)) in found.items():
        latencies = [histogram.percentile(q) / 1e3 for q in (50, 90, 99, 100)]
        told = " | ".join(f"{each:.3f}" for each in latencies)
        print(
            f"| {share:g} | {histogram.count} | {told} | {dropped} | {late} | {run} | {skipped} |"
        )


async def _stretch(host: Hosted, frames: int, into: tuple[Histogram, list[int]]) -> None:
    host.pipeline.metrics()  # closes the window
    before = host.pipeline.shadowed
    results = await host.until_results(frames)
    window, after = host.pipeline.metrics(), host.pipeline.shadowed
    histogram, counts = into
    for result in results:
        histogram.record(round(result.latency_ms.total * 1e3))
    counts[0] += window.dropped.mailbox + window.dropped.source
    counts[1] += window.deadline_misses
    if before is not None and after is not None:
        counts[2] += after.frames - before.frames
        counts[3] += after.skipped - before.skipped


async def _swap(args: argparse.Namespace, fps: float | None) -> None:
    pair = [_pipeline(args, model, fps) for model in args.models]
    gaps: list[list[float]] = [[], []]
    prepared: list[list[float]] = [[], []]
    dropped, memory = 0, []
    async with hosted(pair[0]) as host:
        results = await host.until_results(WARM_FRAMES)
        usual = [1e3 * each for each in _between(results)]
        for _ in range(args.rounds):
            for at in (1, 0):
                await host.until_results(30)
                swapped = await host.pipeline.swap(pair[at])
                gaps[at].append(swapped.gap_ms or 0)
                prepared[at].append(swapped.prepared_ms)
                dropped += swapped.frames_dropped
            await host.until_results(30)
            memory.append(rss_bytes(host.worker) or 0)
        frames = [result.frame for result in host.ear.results]
    missing = frames[-1] + 1 - frames[0] - len(frames)
    print(f"\n{f'{fps:g} frames a second' if fps else 'a pulled source'}: {len(frames)} frames")
    print(
        f"usually between two results: {statistics.median(usual):.2f} ms, at most {max(usual):.2f}"
    )
    for at, model in enumerate(args.models):
        told = ", ".join(f"{each:.1f}" for each in sorted(gaps[at]))
        ready = statistics.median(prepared[at])
        print(
            f"to {model.name}: prepared in {ready:.1f} ms; longest between two results: {told} ms"
        )
    print(f"dropped in swaps: {dropped}; missing of all: {missing}")
    print(
        "resident memory after each round: " + ", ".join(f"{m / 1e6:.1f}" for m in memory) + " MB"
    )


def _between(results: Sequence[object]) -> list[float]:
    from datetime import datetime

    ended = [
        datetime.fromisoformat(r.captured_at.replace("Z", "+00:00")).timestamp()  # type: ignore[attr-defined]
        + r.latency_ms.total / 1e3  # type: ignore[attr-defined]
        for r in results
    ]
    return [after - before for before, after in pairwise(ended)]


if __name__ == "__main__":
    main()
