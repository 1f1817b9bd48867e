"""The broker is away for an hour: what keeping costs, what lies on disk, how fast it leaves.

    PYTHONPATH=tests/support python tests/benchmarks/away.py [SECONDS [RATE]]

An hour of results is put into the sink as fast as it takes them, while no broker listens; then
mosquitto starts, and everything has to arrive once and in order. Figures are of this process
(the sink as the daemon uses it) and of the files it writes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from parties import Mosquitto

from edge.mqtt.access import Access
from edge.sinks.mqtt import MqttSink
from edge.spool import spool as spool_module
from edge.spool.message import Outgoing
from edge.spool.options import SpoolOptions
from edge.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "edge/dev/a/predictions"
PAYLOAD_BYTES = 750  # a result of three predictions
TEND_EVERY = 300  # messages: ten seconds at 30 a second


class Figures(NamedTuple):
    """What it cost."""

    messages: int
    keep_us: float
    """CPU time to record one message and bring it to disk."""
    disk_bytes: int
    """Size of the spool's file when the broker came back."""
    drain_s: float
    """From the broker's start until it had everything."""
    drain_cpu_us: float
    """CPU time of the sink a message meanwhile."""
    repeats: int
    in_order: bool


def run(broker: Mosquitto, messages: int) -> Figures:
    """Keep the messages while no broker is there, then deliver them to one."""
    return asyncio.run(_run(broker, messages))


async def _run(broker: Mosquitto, messages: int) -> Figures:
    spool = Spool("dev", SpoolOptions(max_bytes=1_000_000_000))
    spool.open()
    sink = MqttSink(
        Access("127.0.0.1", broker.port),
        client_id="dev",
        keepalive_s=30,
        base_topic="edge",
        device="dev",
        boot="b",
        spool=spool,
        on_event=lambda _event, _sentence: None,
    )
    began = time.process_time()
    for number in range(messages):
        sink.put(Outgoing(TOPIC, b"%d".ljust(PAYLOAD_BYTES) % number))
        if number % TEND_EVERY == 0:
            await spool.tend(to_disk=True)
        else:
            await asyncio.sleep(0)
    await spool.tend(to_disk=True)
    keep_us = (time.process_time() - began) / messages * 1e6
    disk_bytes = _bytes_on_disk()
    broker.start()
    with _subscribed(broker.port) as heard:
        began, began_cpu = time.perf_counter(), time.process_time()
        sink.start()
        while len(spool):
            await asyncio.sleep(spool_module.TEND_EVERY_S)
            await spool.tend()
        drain_s = time.perf_counter() - began
        drain_cpu_us = (time.process_time() - began_cpu) / messages * 1e6
        await sink.stop(5)
        await asyncio.to_thread(_wait_for, heard, messages)
    await spool.close()
    firsts = list(dict.fromkeys(heard))
    return Figures(
        messages,
        keep_us,
        disk_bytes,
        drain_s,
        drain_cpu_us,
        repeats=len(heard) - len(firsts),
        in_order=firsts == list(range(messages)),
    )


def _bytes_on_disk() -> int:
    return sum(file.stat().st_size for file in Path(os.environ["STATE_DIRECTORY"]).iterdir())


def _wait_for(heard: list[int], messages: int) -> None:
    end = time.monotonic() + 30
    while len(set(heard)) < messages and time.monotonic() < end:
        time.sleep(0.05)


@contextmanager
def _subscribed(port: int) -> Iterator[list[int]]:
    heard: list[int] = []

    def take(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        heard.append(int(message.payload))

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.subscribe(TOPIC, qos=1)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def main() -> None:
    """Print the figures."""
    seconds, rate = [*map(int, sys.argv[1:]), *(3600, 30)[len(sys.argv) - 1 :]]
    path = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        sys.exit("mosquitto is not installed: sudo apt install mosquitto")
    with tempfile.TemporaryDirectory(dir=Path.home()) as state:
        os.environ["STATE_DIRECTORY"] = state
        folder = Path(state, "mosquitto")
        folder.mkdir()
        broker = Mosquitto(path, folder)
        try:
            figures = run(broker, seconds * rate)
        finally:
            broker.kill()
    print(f"{seconds} s at {rate} results a second, {PAYLOAD_BYTES} bytes each")
    print(f"kept {figures.messages:,} messages: {figures.keep_us:.1f} us of CPU a message")
    print(f"on disk: {figures.disk_bytes / 1e6:.1f} MB")
    rate_out = figures.messages / figures.drain_s
    print(
        f"delivered in {figures.drain_s:.1f} s: {rate_out:,.0f} a second, "
        f"{figures.drain_cpu_us:.0f} us of CPU a message"
    )
    print(f"{'in order' if figures.in_order else 'OUT OF ORDER'}, {figures.repeats} repeats")


if __name__ == "__main__":
    main()
