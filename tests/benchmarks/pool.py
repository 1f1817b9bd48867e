"""Measures a pool of devices that share the frames of one topic beside a real mosquitto.

    PYTHONPATH=tests/support python tests/benchmarks/pool.py MODEL [--devices 1,2,4]

So many `edge run` form a pool, and `edge publish-frames --await` sends them frames as fast as its
window of unanswered ones allows. Each number of devices is measured twice: undisturbed, and with
the worker of the first device killed by SIGKILL in the middle. It prints the answers a second, the
round trip and its parts, and who gave how many answers; it exits with 1 where one is missing.

All of it runs on one machine. The pool's workers compete for its cores with each other, with the
publisher, which makes every JPEG, and with the broker; there is no real network in between. So on
two cores this shows what sharing costs and that nothing is lost, not how a pool of real devices
grows: more than one busy worker beside the publisher has no core of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parties import PATIENCE_S, Daemon, Listener, Mosquitto

if TYPE_CHECKING:
    from typing_extensions import Self

TOPIC = "frames/pool"
PARTS = ("round_trip_ms", "network_ms", "queue_ms", "compute_ms")
WARM_FRAMES = 50  # to each device
MEMORY = "/dev/shm"  # noqa: S108  where results wait that are not yet delivered, as on a device


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--mosquitto", default="/usr/sbin/mosquitto")
    parser.add_argument("--devices", default="1,2,4", help="how many form the pool")
    parser.add_argument("--frames", type=int, default=1500, help="in each run")
    parser.add_argument("--size", default="320x240", help="of a frame")
    parser.add_argument("--in-flight", type=int, default=8, help="frames not answered yet")
    args = parser.parse_args()
    print(f"{args.model.name}, {args.frames} frames of {args.size}, {args.in_flight} in flight;")
    print("durations are P50 / P99 in ms")
    print("| devices | killed | answers/s | round trip | network | queue | compute |", end="")
    print(" longest | answers of each | twice | missing |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---|---:|---:|", flush=True)
    missing = 0
    for count in map(int, args.devices.split(",")):
        with Pool(args, count) as pool:
            for killed in (False, True):
                found = pool.run_killed() if killed else pool.run()
                missing += found["missing"]
                print(row(count, found, killed=killed), flush=True)
    sys.exit(1 if missing else 0)


class Pool:
    """A broker and the devices that share its frames."""

    def __init__(self, args: argparse.Namespace, count: int) -> None:
        self._args = args
        self._names = [f"pi-{number}" for number in range(count)]

    def __enter__(self) -> Self:
        """Start them all; return when each of them has answered."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
            self._broker = stack.enter_context(Mosquitto(self._args.mosquitto, folder))
            self._devices = []
            for name in self._names:
                config = folder / f"{name}.yaml"
                config.write_text(device(self._broker, name, self._args.model), encoding="utf-8")
                os.environ["STATE_DIRECTORY"] = str(folder / name)
                os.environ["RUNTIME_DIRECTORY"] = str(memory / name)
                self._devices.append(Daemon(config))
                stack.callback(self._devices[-1].close)
            self._warm()
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def run(self) -> dict[str, Any]:
        """Send the frames; return what `edge publish-frames` tells."""
        return self._publish(self._args.frames)

    def run_killed(self) -> dict[str, Any]:
        """Kill the first device's worker when it has given half of its share of the answers."""
        half_share = self._args.frames // len(self._names) // 2
        topic = f"edge/{self._names[0]}/+/predictions"
        with (
            Listener(self._broker.port, topic) as listener,
            self._sender(self._args.frames) as sender,
        ):
            listener.wait_for_many("/predictions", half_share)
            (worker,) = self._devices[0].workers()
            os.kill(worker, signal.SIGKILL)
            return told(sender)

    def _warm(self) -> None:
        """Wait until all have subscribed and no first frame is left."""
        end = time.monotonic() + PATIENCE_S
        answered: set[str] = set()
        while answered != set(self._names):
            if time.monotonic() > end:
                logs = "\n".join(device.log for device in self._devices)
                raise TimeoutError(f"only {sorted(answered)} have answered\n{logs}")
            answered = set(self._publish(WARM_FRAMES * len(self._names))["devices"])

    def _publish(self, frames: int) -> dict[str, Any]:
        with self._sender(frames) as sender:
            return told(sender)

    def _sender(self, frames: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edge", "publish-frames", "synthetic", "--await", "--json"]
        options = {
            "--topic": TOPIC,
            "--broker": self._broker.url,
            "--size": self._args.size,
            "--count": str(frames),
            "--in-flight": str(self._args.in_flight),
        }
        words = [word for option in options.items() for word in option]
        return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True)


def told(sender: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of `edge publish-frames --json`; return its figures."""
    said, _ = sender.communicate()
    found: dict[str, Any] = json.loads(said)
    return found


def device(broker: Mosquitto, name: str, model: Path) -> str:
    """Return the YAML of a device of the pool."""
    return f"""
device: {name}
mqtt: {{broker: '{broker.url}'}}
pipelines:
  shared:
    source: {{type: mqtt, topic: {TOPIC}, share: pool}}
    model: {{path: {json.dumps(str(model.resolve()))}}}
"""


def row(count: int, found: dict[str, Any], *, killed: bool) -> str:
    """Return a run's row of the table."""
    durations = [" / ".join(shown(found[part][q]) for q in ("p50", "p99")) for part in PARTS]
    answers = ", ".join(str(each) for _, each in sorted(found["devices"].items()))
    rate = found["answers"] / found["seconds"]
    who = "a worker" if killed else "-"
    longest = shown(found["round_trip_ms"]["max"])
    cells = [count, who, f"{rate:.0f}", *durations, longest, answers]
    return f"| {' | '.join(map(str, [*cells, found['repeats'], found['missing']]))} |"


def shown(ms: float | None) -> str:
    """Return a duration as text; `-` where too few were timed."""
    return "-" if ms is None else f"{ms:.2f}"


if __name__ == "__main__":
    main()
