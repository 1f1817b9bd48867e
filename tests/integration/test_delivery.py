"""Every accepted message arrives once and in order: cuts, stalls, dead brokers, dead daemons."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import away
from parties import Daemon, Listener, Mosquitto
from proxy import Proxy

from edge.messages import Event
from edge.mqtt import pauses
from edge.mqtt.access import Access
from edge.mqtt.repeats import Repeats
from edge.sinks.mqtt import MqttSink
from edge.spool import spool as spool_module
from edge.spool.options import SpoolOptions
from edge.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    Start = Callable[..., Daemon]

SEED = 20_261_125
CUTS = 100


def first_arrivals(payloads: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the sequence numbers of each boot in the order they came, without repeats."""
    repeats, found = Repeats(), defaultdict[str, list[int]](list)
    for each in payloads:
        who = (each["device"], each["pipeline"], each["boot"])
        if not repeats.seen(*who, each["sequence"]):
            found[each["boot"]].append(each["sequence"])
    return found


def event(number: int) -> Event:
    return Event(
        device="dev",
        boot="b",
        pipeline="a",
        sequence=number,
        at="",
        clock_synced=True,
        event="started",
        message="",
    )


def sink_to(port: int, spool: Spool, on_event: Callable[[str, str], None]) -> MqttSink:
    return MqttSink(
        Access("127.0.0.1", port),
        client_id="dev",
        keepalive_s=5,
        base_topic="edge",
        device="dev",
        boot="b",
        spool=spool,
        on_event=on_event,
    )


class Cutter(threading.Thread):
    """Cuts each connection a little after it was made, in one of three ways, until it is enough."""

    def __init__(self, proxy: Proxy, cuts: int) -> None:
        super().__init__(daemon=True)
        self._proxy, self._cuts = proxy, cuts
        self._chance = random.Random(SEED)  # noqa: S311
        self.made = 0

    def run(self) -> None:
        """Cut."""
        while self.made < self._cuts:
            # The moment is what is tried: before it is answered, in the middle of its work.
            time.sleep(self._chance.choice([0, 0.001, 0.01, 0.05]))
            way = self._chance.choice(["close", "reset", "stall"])
            if way == "stall" and self._proxy.connections:
                self._proxy.stall(0.03)
                time.sleep(0.01)
            self.made += self._proxy.cut(reset=way == "reset")


def test_a_hundred_cuts_lose_nothing_and_change_no_order(
    broker: Mosquitto, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_S", (0.01, 0.02))
    monkeypatch.setattr(pauses, "LONGEST_S", 0.05)
    monkeypatch.setattr(spool_module, "STALL_S", 0.1)  # so that some go by disk
    monkeypatch.setattr(spool_module, "TEND_EVERY_S", 0.05)

    async def run(proxy: Proxy) -> int:
        spool = Spool("dev", SpoolOptions())
        spool.open()
        sink = sink_to(proxy.port, spool, lambda _event, _sentence: None)
        sink.start()
        cutter, sent, tended_s = Cutter(proxy, CUTS), 0, 0.0
        cutter.start()
        while cutter.is_alive():
            sink.send(event(sent))
            sent += 1
            await asyncio.sleep(0.002)
            if time.monotonic() - tended_s > spool_module.TEND_EVERY_S:
                tended_s = time.monotonic()
                assert not await spool.tend()
        await sink.stop(60)
        assert len(spool) == 0
        await spool.close()
        return sent

    with Proxy(broker.port) as proxy:
        sent = asyncio.run(run(proxy))
        assert proxy.accepted > CUTS
    listener.wait_for("a/events", lambda e: e["sequence"] == sent - 1)
    arrived = first_arrivals(listener.of("a/events"))
    assert arrived == {"b": list(range(sent))}


def test_a_broker_that_takes_few_at_once_is_not_sent_more(mosquitto: str, tmp_path: Path) -> None:
    options = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 3"

    async def run(port: int) -> None:
        spool = Spool("dev", SpoolOptions())
        spool.open()
        events: list[str] = []
        sink = sink_to(port, spool, lambda event, _sentence: events.append(event))
        sink.start()
        for number in range(500):
            sink.send(event(number))
        await sink.stop(30)
        assert len(spool) == 0
        assert sink.connection.in_flight == 3
        assert events == ["broker_connected"]
        await spool.close()

    with Mosquitto(mosquitto, tmp_path, options) as broker, Listener(broker.port) as listener:
        asyncio.run(run(broker.port))
        listener.catch_up()
        sequences = [e["sequence"] for e in listener.of("a/events")]
    assert sequences == list(range(500))


def configuration(url: str, digits: str) -> str:
    return (
        "sinks: [{type: stdout, messages: [predictions, metrics]}]\n"
        f"device: dev\nmqtt: {{broker: '{url}', keepalive_s: 5}}\n"
        f"telemetry: {{interval_s: 0.5}}\npipelines:\n  a: {digits}"
    )


def test_kills_of_daemon_and_broker_and_a_bad_link_lose_nothing(
    broker: Mosquitto, start: Start, digits_30fps: str
) -> None:
    with Proxy(broker.port) as proxy, Listener(broker.port) as listener:
        text = configuration(proxy.url, digits_30fps)
        first = start(text)
        listener.wait_for_many("a/predictions", 10)
        proxy.cut(reset=True)
        first.process.kill()
        first.process.wait()

        second = start(text)
        listener.wait_for_many("a/predictions", 20)
        proxy.stall(3600)
        listener.catch_up()  # what the broker has acknowledged and not delivered dies with it
        broker.kill()
        second.wait_for_log("spool_started")
        second.wait_for_log('"spooled":1')  # soon a hundred
        second.process.kill()
        second.process.wait()

        third = start(text)
        third.wait_for_log("spool_found")
        broker.start()
        listener.catch_up()
        proxy.stall(0)
        listener.wait_for_event("spool_drained")
        proxy.stall(1)
        count = len(listener.of("a/predictions"))
        listener.wait_for_many("a/predictions", count + 30)
        third.send(signal.SIGTERM)
        assert third.wait() == 0
        listener.wait_for("dev/status", lambda word: word == "offline")
        arrived = first_arrivals(listener.of("a/predictions"))
    assert len(arrived) == 3
    for sequences in arrived.values():
        assert sequences == list(range(len(sequences)))
    said = [json.loads(line) for line in second.log.splitlines() if line.startswith("{")]
    predictions = [each for each in said if "sequence" in each]
    # What it said last, it had perhaps not recorded yet.
    assert len(arrived[predictions[0]["boot"]]) >= len(predictions) - 2
    reports = [each for each in said if "waiting" in each]
    assert reports[0]["spooled"] == 0
    assert 0 < reports[-1]["spooled"] <= reports[-1]["waiting"]


def test_a_link_that_is_up_and_dead_brings_what_waits_to_disk(
    broker: Mosquitto, start: Start, digits_30fps: str
) -> None:
    with Proxy(broker.port) as proxy, Listener(broker.port) as listener:
        daemon = start(configuration(proxy.url, digits_30fps).replace("_s: 5", "_s: 60"))
        listener.wait_for_many("a/predictions", 10)
        proxy.stall(3600)
        daemon.wait_for_log("spool_started")
        assert "broker_lost" not in daemon.log
        proxy.stall(0)
        listener.wait_for_event("spool_drained")
        sequences = first_arrivals(listener.of("a/predictions")).popitem()[1]
        assert sequences == list(range(len(sequences)))


def test_a_daemon_that_ends_while_the_broker_is_away_keeps_what_waits(
    broker: Mosquitto, start: Start, digits_30fps: str
) -> None:
    broker.kill()
    text = configuration(broker.url, digits_30fps)
    daemon = start(text, "--max-seconds", "1.5")
    assert daemon.wait() == 0
    assert "they are kept" in daemon.log
    broker.start()
    with Listener(broker.port) as listener:
        again = start(text, "--max-frames", "1")
        assert again.wait() == 0
        assert "spool_found" in again.log
        listener.wait_for("dev/status", lambda word: word == "offline")
        kept, new = first_arrivals(listener.of("a/predictions")).values()
    assert kept == list(range(len(kept)))
    assert len(kept) > 10
    assert new == [0]


def test_what_waited_for_long_leaves_once_and_in_order(mosquitto: str, tmp_path: Path) -> None:
    broker = Mosquitto(mosquitto, tmp_path)
    try:
        figures = away.run(broker, 10_000)
    finally:
        broker.kill()
    assert figures.in_order
    assert figures.disk_bytes > 10_000 * away.PAYLOAD_BYTES
