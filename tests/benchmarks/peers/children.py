"""Starts the peers that count for themselves, each as a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.latency.histogram import Histogram
from peers.listener import FirstMessage
from peers.turn import Turn

if TYPE_CHECKING:
    from peers.plan import Setting

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PATIENCE_S = 60.0
LITERT_TOOL = "ai_edge_litert.tools.benchmark_litert_model"


class LeftOutError(Exception):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True)
class Child:
    """A script of this folder that answers with a stopwatch's report."""

    script: str
    python: Path = Path(sys.executable)
    topic: str | None = None
    """Where it publishes, which tells when its first prediction was there."""

    def __call__(self, setting: Setting) -> Turn:
        """Run it. Raises LeftOutError when it cannot."""
        if not self.python.exists():
            raise LeftOutError(f"{self.python} is not there: `make bench-peers` makes it")
        command = [self.python, HERE / self.script, setting.model, "--feed", setting.feed]
        command += ["--frames", setting.frames, "--seconds", f"{setting.seconds}"]
        command += ["--port", f"{setting.port}"] + (
            ["--fps", f"{setting.fps}"] if setting.fps else []
        )
        # LiteRT's and MediaPipe's chatter is kept for the case that it says why it failed.
        environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{ROOT}"}
        with FirstMessage(setting.port, self.topic) as first:
            began = time.monotonic()
            try:
                done = subprocess.run(
                    list(map(str, command)),
                    capture_output=True,
                    text=True,
                    check=False,
                    env=environment,
                    timeout=setting.seconds + PATIENCE_S,
                )
            except subprocess.TimeoutExpired:
                raise LeftOutError("it did not come to an end") from None
        if done.returncode:
            raise LeftOutError((done.stderr.strip().splitlines() or ["it died without a word"])[-1])
        return _turn(done.stdout.splitlines()[-1], first.after_s(began))


def _turn(report: str, first_s: float | None) -> Turn:
    said = json.loads(report)
    extra = {
        name: f"P50 {_histogram(values).percentile(50) / 1e3:.3f} ms"
        for name, values in said["extra_us"].items()
    }
    extra |= {name: f"{value:g}" for name, value in said["extra"].items()}
    return Turn(
        _histogram(said["latencies_us"]),
        said["seconds"],
        cpu_ns=said["cpu_ns"],
        pss_bytes=said["pss_bytes"],
        first_s=first_s,
        answers={int(number): best for number, best in said["answers"].items()},
        extra=extra,
    )


def _histogram(values_us: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values_us:
        histogram.record(value)
    return histogram


def litert_tool(setting: Setting) -> Turn:
    """Run LiteRT's own benchmark for about as long as the others; it reports no P99.

    Raises LeftOutError where the installed LiteRT has no such tool.
    """
    try:
        found = importlib.util.find_spec(LITERT_TOOL)
    except ImportError:
        found = None
    if found is None:
        raise LeftOutError("the installed LiteRT does not bring benchmark_litert_model (2.3 does)")
    runs = 100
    while True:
        latency = _litert_latency(setting, runs)
        enough = round(setting.seconds * 1e3 / max(latency["avg_ms"], 0.01))
        if runs >= enough / 2:
            return Turn(
                Histogram(),
                runs * latency["avg_ms"] / 1e3,
                throughput=1e3 / latency["avg_ms"],
                p50_us=latency["median_ms"] * 1e3,
            )
        runs = enough


def _litert_latency(setting: Setting, runs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "result.json")
        command = [sys.executable, "-m", LITERT_TOOL, f"--model={setting.model}"]
        command += [f"--num_runs={runs}", "--num_threads=1", f"--result_json={answer}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not answer.exists():
            words = done.stderr.strip().splitlines() or ["it died without a word"]
            raise LeftOutError(f"benchmark_litert_model fails: {words[-1]}")
        latency: dict[str, float] = json.loads(answer.read_text())["latency"]
        return latency
