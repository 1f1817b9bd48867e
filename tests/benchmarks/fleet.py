"""Measures what `edge top` takes to watch a fleet of simulated devices beside a real mosquitto.

    PYTHONPATH=tests/support python tests/benchmarks/fleet.py [--devices 1000] [--frames 900]

Every device has one pipeline and reports in turn; `100` reports a second are a thousand devices
that do so every 10 s, and the other rates are floods. A row is a run of its own: reports published
and reports that the broker dropped because `edge top` did not take them, the processor time of
`edge top` in percent of one core, and its resident memory. At the end its P99 of the fleet is
compared with that of all samples.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from parties import Mosquitto
from pseudo_terminal import PseudoTerminal
from simulated_fleet import Crowd, SimulatedDevice, pooled

from edge.supervisor.memory import rss_bytes

SYS_EVERY_S = 1
DROPPED = "$SYS/broker/publish/messages/dropped"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mosquitto", default="/usr/sbin/mosquitto")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=900, help="in each device's recent past")
    parser.add_argument("--rates", default="100,500,1000,2000", help="reports a second")
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    devices = [SimulatedDevice(f"pi-{number:05}") for number in range(args.devices)]
    for device in devices:
        device.work(args.frames)
    reports = [device.metrics() for device in devices]
    size = sum(len(payload) for _, payload in reports) / len(reports)
    print(f"{len(devices)} devices, {size:.0f} bytes a report")
    print("| reports/s | published/s | dropped | CPU % | RSS MB | RSS MB, most |")
    print("|---:|---:|---:|---:|---:|---:|")
    options = f"allow_anonymous true\nsys_interval {SYS_EVERY_S}"
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(args.mosquitto, Path(folder), options) as broker,
        Crowd(broker.port) as crowd,
    ):
        crowd.say_all([(device.status, "online") for device in devices], retain=True)
        for rate in map(float, args.rates.split(",")):
            measure(broker, reports, rate=rate, seconds=args.seconds)
        crowd.repeat(reports)
        command = [sys.executable, "-m", "edge", "top", "--broker", broker.url, "--once", "--json"]
        said = json.loads(subprocess.check_output(command))
    p99, expected = said["fleet"]["latency_ms"]["p99"], pooled(devices).percentile(99) / 1000
    count = said["fleet"]["latency_ms"]["count"]
    print(f"P99 of {count} results in edge top: {p99} ms, of all samples together: {expected} ms")


def measure(
    broker: Mosquitto, reports: list[tuple[str, bytes]], *, rate: float, seconds: float
) -> None:
    """Watch the fleet in a terminal of 50 lines while reports come at a rate."""
    dropped = Dropped(broker.port)
    with PseudoTerminal("top", "--broker", broker.url, rows=50, columns=100) as terminal:
        talk = Talk(broker.port, reports, rate)
        terminal.wait_for(lambda screen: f"{len(reports):,} online" in "".join(screen))
        follow(terminal, max(3, len(reports) / rate))  # every device has reported
        pid = terminal.process.pid
        before, began, dropped_before = cpu_s(pid), time.monotonic(), dropped.count
        published_before = talk.published
        most = follow(terminal, seconds)
        took = time.monotonic() - began
        cpu = (cpu_s(pid) - before) / took
        published = (talk.published - published_before) / took
        now = rss_bytes(pid) or 0
        talk.end()
        time.sleep(2 * SYS_EVERY_S)
        lost = dropped.count - dropped_before
        print(
            f"| {rate:.0f} | {published:.0f} | {lost} | {cpu:.1%} | {now / 1e6:.0f} "
            f"| {most / 1e6:.0f} |",
            flush=True,
        )
        terminal.press("q")
        terminal.wait()
    dropped.end()


def follow(terminal: PseudoTerminal, seconds: float) -> int:
    """Read what is shown for a while; return the most memory seen in it, in bytes."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        terminal.read()
        most = max(most, rss_bytes(terminal.process.pid) or 0)
    return most


class Talk:
    """Publishes reports in turn, at a rate, in a thread."""

    def __init__(self, port: int, reports: list[tuple[str, bytes]], rate: float) -> None:
        self.published = 0
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(reports, rate))
        self._thread.start()

    def _run(self, reports: list[tuple[str, bytes]], rate: float) -> None:
        began = time.monotonic()
        for topic, payload in cycle(reports):
            wait_s = began + self.published / rate - time.monotonic()
            if (wait_s > 0 and self._ended.wait(wait_s)) or self._ended.is_set():
                return
            self._client.publish(topic, payload, 0).wait_for_publish(10)
            self.published += 1

    def end(self) -> None:
        """Publish no more."""
        self._ended.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()


class Dropped:
    """Listens to what the broker says it has dropped."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self._take(bytes(message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(DROPPED)
        self._client.loop_start()

    def _take(self, payload: bytes) -> None:
        self.count = int(payload)

    def end(self) -> None:
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # utime, stime in ticks of USER_HZ


if __name__ == "__main__":
    main()
