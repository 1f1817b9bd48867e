"""Measures the loop against a bare forward pass of the same model, both paced, in one run.

    python tests/benchmarks/loop.py MODEL.tflite [MODEL.tflite ...]

Prints, for each model: P50 of a bare `invoke()` at the given rate; P50 from capture to result
of the worker as `edge run` starts it, over synthetic frames at that rate; their ratio; and
where the time goes. Bare and loop take turns, so that a noisy machine hits both. Then, for
the first model, the daemon as a whole: seconds from start to the first prediction at the
broker, and the memory (PSS) of its two processes.
"""

import argparse
import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edge.config.pipeline import Pipeline
from edge.engines.choose import choose
from edge.engines.engine import MODULES
from edge.supervisor.broker import EmbeddedBroker
from edge.supervisor.process import WorkerProcess
from edge.wire import Done

BARE = "--bare"
WARM_UP = 10  # frames left out of each turn


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == [BARE]:
        print(" ".join(map(str, bare(sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each turn")
    args = parser.parse_args()
    print(f"{args.size} at {args.fps:g} fps, one thread, {args.turns} turns of {args.seconds:g} s")
    for model in args.models:
        for interpolation in ("pyramid", "linear"):
            compare(model, interpolation, args)
    whole_daemon(args.models[0])


def compare(model: Path, interpolation: str, args: argparse.Namespace) -> None:
    """Let bare and loop take turns; print the ratio of their P50."""
    bares: list[float] = []
    frames: list[Done] = []
    ratios = []
    for _ in range(args.turns):
        command = [sys.executable, __file__, BARE, str(model), str(args.fps), str(args.seconds)]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
        turn = [float(word) for word in said.stdout.split()]
        answered = loop(model, interpolation, args)
        ratios.append(statistics.median(map(total_us, answered)) / statistics.median(turn))
        bares += turn
        frames += answered
    stages = {
        "capture": [d.retrieved_ns - d.captured_ns for d in frames],
        "preprocess": [d.prepared_ns - d.retrieved_ns for d in frames],
        "wait": [d.taken_ns - d.prepared_ns for d in frames],
        "inference": [d.inferred_ns - d.taken_ns for d in frames],
        "decode": [d.decoded_ns - d.inferred_ns for d in frames],
    }
    spent = " ".join(f"{name} {statistics.median(ns) / 1e3:.0f}" for name, ns in stages.items())
    print(
        f"{model.stem} {interpolation}: bare P50 {statistics.median(bares):.0f} us, capture to "
        f"result P50 {statistics.median(map(total_us, frames)):.0f} us, ratio "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); {spent} us"
    )


def total_us(done: Done) -> float:
    """Microseconds from capture to result."""
    return (done.decoded_ns - done.captured_ns) / 1e3


def bare(model: str, fps: float, seconds: float) -> list[float]:
    """Invoke at a fixed rate; return the microseconds of each `invoke()` alone."""
    interpreter: Any = importlib.import_module(MODULES[choose("auto").name]).Interpreter(
        model_path=model, num_threads=1
    )
    interpreter.allocate_tensors()
    spent = []
    due = time.monotonic()
    for _ in range(round(fps * seconds)):
        due += 1 / fps
        time.sleep(max(due - time.monotonic(), 0))
        began = time.monotonic_ns()
        interpreter.invoke()
        spent.append((time.monotonic_ns() - began) / 1e3)
    return spent[WARM_UP:]


def loop(model: Path, interpolation: str, args: argparse.Namespace) -> list[Done]:
    """Run the worker over synthetic frames; return what it answered."""
    width, height = map(int, args.size.split("x"))
    frames = round(args.fps * args.seconds)
    options = Pipeline.model_validate(
        {
            "source": {"type": "synthetic", "width": width, "height": height, "fps": args.fps},
            "model": {"path": model, "interpolation": interpolation},
            "decode": {"type": "classification", "top_k": 3},
            "on_late": "run",
        }
    )
    worker = WorkerProcess("benchmark", options, max_frames=frames)
    answered = []
    try:
        while True:
            worker.wire.wait(timeout_s=60)
            record = worker.wire.receive()
            if isinstance(record, Done):
                answered.append(record)
    except ConnectionError:
        return answered[WARM_UP:]
    finally:
        worker.close()


def whole_daemon(model: Path) -> None:
    """Start `edge run` and print how soon it predicts and what it weighs."""
    from paho.mqtt.subscribe import simple

    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "device.yaml")
        config.write_text(
            "device: benchmark\npipelines:\n  p:\n    source: {type: synthetic}\n"
            f"    model: {{path: {model.resolve()}}}\n",
            encoding="utf-8",
        )
        began = time.monotonic()
        command = [sys.executable, "-m", "edge", "run", str(config), "--broker", broker.url]
        daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            simple("edge/benchmark/p/predictions", hostname="127.0.0.1", port=broker.port)  # type: ignore[no-untyped-call]
            first_s = time.monotonic() - began
            time.sleep(10)
            worker = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()[0]
            print(
                f"daemon: first prediction after {first_s:.2f} s; PSS supervisor "
                f"{pss_mb(daemon.pid):.1f} MB, worker {pss_mb(int(worker)):.1f} MB"
            )
        finally:
            daemon.terminate()
            daemon.wait()


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (10^6 bytes), from proc(5) smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(pid)


if __name__ == "__main__":
    main()
