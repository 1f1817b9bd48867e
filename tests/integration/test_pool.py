"""Devices that share the frames of a topic, and the command that publishes them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from parties import PATIENCE_S, Daemon, Listener, Mosquitto, free_port

from edge.cli.frames_client import FramesClient
from edge.mqtt.access import Access
from edge.supervisor.broker import EmbeddedBroker

Start = Callable[..., Daemon]
ROOT = Path(__file__).parents[2]
MODEL = f"{{path: {ROOT}/models/digits/digits.tflite, labels: {ROOT}/models/digits/labels.txt}}"
GARBAGE = (b"", b"garbage", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00\x00\xff\xff" * 2)


def pool(url: str, name: str, *, more: str = "share: pool", publish: str = "every") -> str:
    """Return the YAML of a device that takes frames from the topic `frames`."""
    return f"""
device: {name}
mqtt: {{broker: '{url}'}}
pipelines:
  digits:
    source: {{type: mqtt, topic: frames, {more}}}
    publish: {{when: {publish}}}
    model: {MODEL}
"""


def command(url: str, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "edge", "publish-frames", "synthetic", "--size", "64x64",
        "--topic", "frames", "--broker", url, *arguments,
    ]  # fmt: skip


def publish(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(url, *arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def running(listener: Listener, name: str) -> None:
    """Wait until a device's worker is there."""
    listener.wait_for(f"{name}/info", lambda i: i["pipelines"]["digits"]["state"] == "running")


def served(broker: Mosquitto) -> None:
    """See that a worker has subscribed, which it does after it is running."""
    end = time.monotonic() + PATIENCE_S
    while (done := publish(broker.url, "--count", "1", "--await", "--timeout", "2")).returncode:
        assert time.monotonic() < end, done.stderr


def test_nothing_is_lost_when_a_worker_of_the_pool_is_killed_in_the_middle(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    devices = {}
    for name in ("one", "two"):
        devices[name] = start(pool(broker.url, name))
        running(listener, name)
    sender = subprocess.Popen(
        command(
            broker.url, "--count", "150", "--fps", "60", "--await", "--json", "--timeout", "30"
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    listener.wait_for_many("one/digits/predictions", 10)
    os.kill(devices["one"].workers()[0], signal.SIGKILL)
    listener.wait_for_event("worker_died")
    told, _ = sender.communicate(timeout=PATIENCE_S)
    found = json.loads(told)
    assert sender.returncode == 0
    assert (found["frames"], found["answers"], found["missing"]) == (150, 150, 0)
    assert set(found["devices"]) == {"one", "two"}
    listener.catch_up()
    asked = {each["request"]["correlation"] for each in listener.of("/predictions")}
    assert len(asked) == 150


def test_what_a_dead_worker_had_in_hand_waits_for_the_next(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    devices = {}
    for name in ("one", "two"):
        devices[name] = start(pool(broker.url, name))
        running(listener, name)
    for _ in range(20):
        publish(broker.url, "--count", "8", "--await", "--timeout", "2")
        if all(listener.of(f"{name}/digits/predictions") for name in devices):
            break  # both have subscribed
    heard = len(listener.of("two/digits/predictions"))
    os.kill(devices["one"].workers()[0], signal.SIGSTOP)
    sender = subprocess.Popen(
        command(broker.url, "--count", "40", "--await", "--json", "--timeout", "30"),
        stdout=subprocess.PIPE,
        text=True,
    )
    listener.wait_for_many("two/digits/predictions", heard + 4)  # the broker deals in turn
    os.kill(devices["one"].workers()[0], signal.SIGKILL)
    found = json.loads(sender.communicate(timeout=PATIENCE_S)[0])
    assert (found["answers"], found["missing"]) == (40, 0)


def test_an_answer_splits_the_round_trip_and_bears_what_was_asked(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    start(pool(broker.url, "one"))
    running(listener, "one")
    done = publish(broker.url, "--count", "120", "--await", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for part in ("round_trip_ms", "network_ms", "queue_ms", "compute_ms"):
        assert 0 < found[part]["p50"] <= found[part]["p99"] <= found[part]["max"]
    assert found["compute_ms"]["p50"] < found["round_trip_ms"]["p50"]
    request = listener.wait_for("/predictions")["request"]
    assert request["topic"] == "frames"
    assert request["sent_at"]


def test_what_is_no_frame_is_told_and_blocks_nobody(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    start(pool(broker.url, "one"))
    running(listener, "one")
    served(broker)
    _send(broker.port, *GARBAGE * 3)
    done = publish(broker.url, "--count", "10", "--await", "--json")
    assert json.loads(done.stdout)["answers"] == 10
    listener.catch_up()
    failed = [e for e in listener.of("/events") if e["event"] == "frame_failed"]
    assert len(failed) == 9


def test_results_that_are_not_published_are_settled_as_well(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    start(pool(broker.url, "one", publish="changed", more="share: pool, prefetch: 1"))
    running(listener, "one")
    assert publish(broker.url, "--count", "30").returncode == 0
    listener.wait_for("/metrics", lambda m: m["frames_total"] == 30)


def test_without_a_group_every_device_gets_the_frames(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    for name in ("one", "two"):
        start(pool(broker.url, name, more="deadline_ms: 500"))
        running(listener, name)
    sender = subprocess.Popen(command(broker.url, "--fps", "30"), stdout=subprocess.DEVNULL)
    try:
        for name in ("one", "two"):
            listener.wait_for_many(f"{name}/digits/predictions", 5)
    finally:
        sender.send_signal(signal.SIGINT)
    assert sender.wait(PATIENCE_S) == 130


def test_a_pool_survives_a_broker_that_goes_and_comes(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    start(pool(broker.url, "one"))
    running(listener, "one")
    served(broker)
    broker.kill()
    broker.start()
    listener.wait_for_event("source_lost")
    served(broker)
    done = publish(broker.url, "--count", "5", "--await", "--json", "--timeout", "30")
    assert json.loads(done.stdout)["answers"] == 5


def test_a_group_at_a_broker_without_mqtt_5_is_told(start: Start) -> None:
    with EmbeddedBroker(free_port()) as embedded:
        daemon = start(pool(embedded.url, "one"))
        daemon.wait_for_log("source_lost")
        assert "MQTT 5" in daemon.log or "shared" in daemon.log


def test_an_acknowledgement_is_heard_while_a_frame_is_handed_over(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = Client.publish
    heard = []

    def until_acknowledged(client: Client, *arguments: Any, **options: Any) -> Any:
        said = hand_over(client, *arguments, **options)
        said.wait_for_publish(PATIENCE_S)
        heard.append(said.is_published())
        return said

    monkeypatch.setattr(Client, "publish", until_acknowledged)
    access = Access("127.0.0.1", broker.port)
    frames = FramesClient(access, "frames", in_flight=2, answers_within_s=None)
    frames.open()
    frames.publish(b"frame")
    frames.close()
    assert heard == [True]
    assert frames.acknowledged == 1


def test_answers_that_do_not_come_are_counted_and_told(broker: Mosquitto) -> None:
    done = publish(broker.url, "--count", "3", "--await", "--timeout", "0.5")
    assert done.returncode == 1
    assert "3 answers are missing" in done.stderr
    late = publish(broker.url, "--count", "1", "--await", "--timeout", "11", "--json")
    assert late.returncode == 1
    assert json.loads(late.stdout)["missing"] == 1


def test_frames_that_reach_nobody_are_counted_and_told(broker: Mosquitto) -> None:
    done = publish(broker.url, "--count", "3")
    assert done.returncode == 1
    assert "3 frames reached nobody" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topic", "a/#"], "--topic"),
        (["--size", "640"], "--size"),
        (["--fps", "0"], "--fps"),
        (["--quality", "101"], "--quality"),
    ],
)
def test_wrong_words_are_told(arguments: list[str], words: str) -> None:
    done = publish("mqtt://127.0.0.1:1", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_is_away_is_told() -> None:
    done = publish(f"mqtt://127.0.0.1:{free_port()}", "--count", "1")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr


def _send(port: int, *payloads: bytes) -> None:
    client: Any = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for payload in payloads:
        client.publish("frames", payload, qos=1).wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
