"""Burns the cores beside `edge run`, without the ladder and with it; prints what was missed.

    python -m ladder FULL.tflite SMALL.tflite

Below the full model are two rungs: the small one, and a third of the rate. The aim: of the frames
under load more than 30 % are late without the ladder, fewer than 2 % with it once it has settled;
and when the load has ended, it is back on the full model.

Frames are of 1080p: with its preprocessing the full model then needs a core for longer than one
turn. A frame that fits into one turn is hardly held up by others, however many they are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burners import Burners, cores

from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL_S = 0.5
SETTLED_S = 5.0
COLUMNS = ("ladder", "phase", "frames", "late", "share", "P50 ms", "P99 ms", "time on each rung")


def main() -> int:
    """Measure and print; return 1 where the aim was missed."""
    args = _arguments()
    print(
        f"{args.full.stem}, then {args.small.stem}, at {args.fps:g} fps with a deadline of "
        f"{args.deadline_ms:g} ms; for {args.seconds:g} s {args.burners} other processes burn "
        f"{cores()} cores\n"
    )
    runs = {word: Run(args, ladder=word == "with").measure() for word in ("without", "with")}
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n")
    for word, run in runs.items():
        for phase, windows in run.phases.items():
            print(_row([word, phase, *_figures(windows)]))
    print("\nthe steps, in seconds since the load began:")
    for at_s, event in runs["with"].steps:
        print(f"{at_s:8.2f}  {event['message']}")
    share = {word: _share(run.phases["load, settled"]) for word, run in runs.items()}
    back = runs["with"].phases["after"][-1]["rung"] == 0
    print(
        f"\nlate under load: {share['without']:.1%} without the ladder, {share['with']:.2%} with "
        f"it once settled; {'back on the full model' if back else 'still down'} at the end"
    )
    return 0 if share["without"] > 0.3 and share["with"] < 0.02 and back else 1


@dataclass
class Run:
    """One run of the daemon: quiet, under load, quiet again."""

    args: argparse.Namespace
    ladder: bool
    phases: dict[str, list[Any]] = field(default_factory=dict)
    """The windows of the metrics, by the phase that they ended in."""
    steps: list[tuple[float, Any]] = field(default_factory=list)

    def measure(self) -> Run:
        """Run it to its end."""
        settled_s = min(SETTLED_S, self.args.seconds / 2)
        heard: list[Any] = []
        with self._daemon() as daemon:
            assert daemon.stdout is not None
            lines = daemon.stdout
            listening = threading.Thread(target=lambda: heard.extend(map(json.loads, lines)))
            listening.start()
            marks = [self._wait(2.0), self._wait(self.args.quiet_s / 3)]
            with Burners(self.args.burners):
                marks += [self._wait(settled_s), self._wait(self.args.seconds - settled_s)]
            marks += [self._wait(self.args.quiet_s)]
            daemon.terminate()
            listening.join()
        names = ("before", f"load, first {settled_s:g} s", "load, settled", "after")
        for name, begin_s, end_s in zip(names, marks[:-1], marks[1:], strict=True):
            self.phases[name] = [
                said
                for said in heard
                if "window_s" in said and begin_s < _at_s(said) - said["window_s"] / 2 <= end_s
            ]
        self.steps = [
            (_at_s(said) - marks[1], said) for said in heard if said.get("event") == "rung_changed"
        ]
        return self

    def _wait(self, seconds: float) -> float:
        time.sleep(seconds)
        return time.time()

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[subprocess.Popen[str]]:
        args = self.args
        rungs = (
            f"{{name: small, model: {{path: {args.small}}}}}, {{name: slow, fps: {args.fps / 3}}}"
        )
        ladder = f"    ladder: {{rungs: [{rungs}]}}\n"
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
            config = Path(folder) / "device.yaml"
            config.write_text(
                "device: ladder\nmqtt: {broker: 'mqtt://127.0.0.1:1'}\n"
                "sinks: [{type: stdout, messages: [metrics, events]}]\n"
                f"telemetry: {{interval_s: {INTERVAL_S}}}\n"
                "pipelines:\n  camera:\n"
                f"    source: {{type: synthetic, width: 1920, height: 1080, fps: {args.fps}}}\n"
                f"    model: {{path: {args.full}}}\n    deadline_ms: {args.deadline_ms}\n"
                f"{ladder if self.ladder else ''}",
                encoding="utf-8",
            )
            daemon = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", str(config)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"STATE_DIRECTORY": folder},
            )
            with daemon:
                try:
                    yield daemon
                finally:
                    daemon.terminate()
            if daemon.returncode:
                log.seek(0)
                sys.exit(log.read())


def _at_s(said: Any) -> float:
    """Return when something was said, by the daemon's clock: it may reach us late."""
    return datetime.fromisoformat(said["at"].replace("Z", "+00:00")).timestamp()


def _figures(windows: list[Any]) -> Iterator[str]:
    latency = Histogram.merged(decode(window["latency_ms"]["hdr"]) for window in windows)
    seconds: dict[str, float] = {}
    for window in windows:
        name = window["rung_name"]
        seconds[name] = seconds.get(name, 0) + window["window_s"]
    yield f"{sum(map(_judged, windows))}"
    yield f"{sum(window['deadline_misses'] for window in windows)}"
    yield f"{_share(windows):.2%}"
    for q in (50, 99):
        value = latency.supported_percentile(q)
        yield "-" if value is None else f"{value / 1e3:.2f}"
    yield ", ".join(f"{name} {spent_s:.1f} s" for name, spent_s in seconds.items())


def _judged(window: Any) -> int:
    return int(window["frames"] + window["dropped"]["deadline"])


def _share(windows: list[Any]) -> float:
    misses: int = sum(window["deadline_misses"] for window in windows)
    return misses / max(sum(map(_judged, windows)), 1)


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ladder", description=__doc__)
    parser.add_argument("full", type=Path, help="the model as configured")
    parser.add_argument("small", type=Path, help="the model of the rung below")
    parser.add_argument("--burners", type=int, default=4 * cores(), help="other processes")
    parser.add_argument("--seconds", type=float, default=60, help="under load")
    parser.add_argument("--quiet-s", type=float, default=20, help="after; a third of it before")
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--deadline-ms", type=float, default=15)
    args = parser.parse_args()
    for model in (args.full, args.small):
        if not model.is_file():
            parser.error(f"no such model: {model}")
    return args


if __name__ == "__main__":
    sys.exit(main())
