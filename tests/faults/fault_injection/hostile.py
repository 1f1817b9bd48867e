"""What nobody should say to a device, and somebody will: hostile commands over MQTT."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    import random

    from fault_injection.scene import Subscriber

NAMES = ("pause", "resume", "set", "snapshot")  # those that need more than an empty object
PATHS = ("../../etc/passwd", "/", "", "steady\0", "nobody", "edge/#", "$SYS", "a" * 5000)
NUMBERS = ("1e999", "-1e999", "NaN", "1" * 4000, "-0", "1e-400", "0x10", "true", "[]", "{}")
FLOOD = 300


def attack(subscriber: Subscriber, chance: random.Random) -> None:
    """Say some of it; nothing of it may be obeyed, answered elsewhere, or even noticed much."""
    for way in chance.sample(WAYS, chance.randint(1, 4)):
        way(subscriber, chance)


def _no_json(subscriber: Subscriber, chance: random.Random) -> None:
    payloads = [b"", b"\xff\xfe\xfd", b"{", b"null", b"[" * 4000, b'{"a":' * 600, b"\0" * 4096]
    payloads += [chance.randbytes(chance.randint(1, 4000)) for _ in range(3)]
    for payload in payloads:
        subscriber.command(chance.choice(NAMES), payload, qos=chance.randint(0, 2))


def _wrong_values(subscriber: Subscriber, chance: random.Random) -> None:
    for number in NUMBERS:
        key = chance.choice(["deadline_ms", "threshold", "reset", "pipeline"])
        subscriber.command("set", f'{{"pipeline":"steady","{key}":{number}}}'.encode())
    for path in PATHS:
        name = chance.choice(["pause", "resume", "snapshot", "dump"])
        subscriber.command(name, json.dumps({"pipeline": path}).encode())
    subscriber.command("pause", b'{"pipeline":"steady","paused":"yes","__class__":"x"}')


def _too_large(subscriber: Subscriber, chance: random.Random) -> None:
    size = chance.choice([4097, 70_000, 1_000_000])
    subscriber.command("pause", b'{"pipeline":"steady"' + b" " * size + b"}")


def _retained(subscriber: Subscriber, _chance: random.Random) -> None:
    """Leave one at the broker, cut in as the device connects, and take it away again."""
    subscriber.command("pause", b'{"pipeline":"nobody"}', retain=True)
    subscriber.command("pause", b"", retain=True)


def _answers_elsewhere(subscriber: Subscriber, _chance: random.Random) -> None:
    """Ask for answers where only devices speak, or nobody can."""
    for topic in (
        "edge/struck/status",
        "edge/struck/steady/predictions",
        "$SYS/broker",
        "/" * 3000,
    ):
        asked = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        asked.ResponseTopic = topic
        asked.CorrelationData = b"x" * 5000
        subscriber.publish("edge/struck/command/ping", b"{}", properties=asked)


def _unknown(subscriber: Subscriber, chance: random.Random) -> None:
    for name in ("shutdown", "answer", "PING", "ping ", "ünïcode", "x" * 1000):
        subscriber.command(name, b"{}", qos=chance.randint(0, 2))


def _flood(subscriber: Subscriber, chance: random.Random) -> None:
    for _ in range(FLOOD):
        subscriber.command(chance.choice(("nothing", "ping", "set")), b"{}", qos=0)


WAYS = (_no_json, _wrong_values, _too_large, _retained, _answers_elsewhere, _unknown, _flood)
