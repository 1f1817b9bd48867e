"""Commands over MQTT to a running daemon: done, refused, remembered, and hostile ones."""

from __future__ import annotations

import json
import random
import signal
import string
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from operators import Operator
from paho.mqtt.enums import MQTTProtocolVersion
from parties import PATIENCE_S, Daemon, Mosquitto, device

from edge.commands import REQUESTS

Start = Callable[..., Daemon]
ROOT = Path(__file__).parents[2]
ALL = "\ncommands: {allow: all, per_second: 100}\n"
FUZZ_SEED = 20_260_725
HOSTILE = 10_000


@pytest.fixture
def operator(broker: Mosquitto) -> Iterator[Operator]:
    with Operator(broker.port) as operator:
        yield operator


@pytest.fixture
def cam(broker: Mosquitto, start: Start, digits_30fps: str) -> Daemon:
    return start(device(broker, f"  cam: {digits_30fps}") + ALL)


def running(operator: Operator) -> None:
    operator.wait_for("edge/dev/cam/predictions")


def test_a_paused_pipeline_has_no_worker_and_its_pause_is_in_no_figure(
    operator: Operator, cam: Daemon
) -> None:
    running(operator)
    answer = operator.ask("pause", pipeline="cam")
    assert answer["done"], answer
    assert answer["pipelines"]["cam"]["state"] == "paused"
    assert cam.workers() == []
    operator.wait_for(
        "edge/dev/info",
        lambda m: json.loads(m.payload)["pipelines"]["cam"]["state"] == "paused",
    )
    during = json.loads(
        operator.wait_for(
            "edge/dev/cam/metrics",
            lambda m: (said := json.loads(m.payload))["state"] == "paused" and not said["frames"],
        ).payload
    )
    again = operator.ask("pause", pipeline="cam")
    assert again["done"]
    assert again["message"] == "cam is paused already"
    assert operator.ask("resume", pipeline="cam")["done"]
    operator.result_after()
    after = json.loads(
        operator.wait_for(
            "edge/dev/cam/metrics",
            lambda m: json.loads(m.payload)["frames_total"] > during["frames_total"] + 5,
        ).payload
    )
    # Of some ten and more frames that fell due meanwhile none is lost: nobody wanted them.
    assert after["dropped_total"]["source"] == during["dropped_total"]["source"]
    assert "worker_died" not in [each["event"] for each in operator.of("edge/dev/cam/events")]


def test_a_pause_outlives_the_daemon_and_a_switch_can_end_it(
    broker: Mosquitto, operator: Operator, cam: Daemon, start: Start, digits_30fps: str
) -> None:
    running(operator)
    assert operator.ask("pause", pipeline="cam", paused=True)["done"]
    cam.send(signal.SIGKILL)
    cam.wait()
    operator.wait_for("edge/dev/status", lambda m: m.payload == b"offline")
    operator.forget()
    again = start(device(broker, f"  cam: {digits_30fps}") + ALL)
    operator.wait_for_return()
    assert operator.ask("ping")["pipelines"]["cam"]["state"] == "paused"
    assert again.workers() == []
    assert operator.ask("pause", pipeline="cam", paused=False)["done"]
    operator.result_after()


def test_a_pulled_source_goes_on_with_the_next_frame(
    testdata: Path, broker: Mosquitto, operator: Operator, start: Start
) -> None:
    model = testdata / "models/mobilenet_v2_1.0_224_quant.tflite"
    pipeline = f"{{source: {{type: synthetic, width: 64, height: 64}}, model: {{path: '{model}'}}}}"
    start(device(broker, f"  cam: {pipeline}") + ALL)
    running(operator)
    assert operator.ask("pause", pipeline="cam")["done"]
    assert operator.ask("resume", pipeline="cam")["done"]
    operator.result_after()
    assert operator.ask("set", pipeline="cam", threshold=0.1)["done"]
    operator.result_after()
    frames = [each["frame"] for each in operator.of("edge/dev/cam/predictions")]
    assert frames == list(range(len(frames)))


def test_a_threshold_and_a_deadline_are_set_within_limits_kept_and_reset(
    broker: Mosquitto, operator: Operator, cam: Daemon, start: Start, digits_30fps: str
) -> None:
    running(operator)
    answer = operator.ask("set", pipeline="cam", threshold=0.75, deadline_ms=500)
    assert answer["done"], answer
    assert answer["pipelines"]["cam"]["overrides"] == {"threshold": 0.75, "deadline_ms": 500.0}
    operator.wait_for(
        "edge/dev/cam/predictions", lambda m: json.loads(m.payload)["deadline_ms"] == 500
    )
    refused = operator.ask("set", pipeline="cam", threshold=2)
    assert not refused["done"]
    assert refused["message"].startswith("`threshold` must be 0 to 1")
    assert refused["pipelines"]["cam"]["threshold"] == 0.75
    # The YAML is read again, and still says what it said: the command holds.
    assert operator.ask("reload")["pipelines"]["cam"]["deadline_ms"] == 500
    # It is edited, and says something else: the YAML holds.
    cam.config.write_text(cam.config.read_text().replace("deadline_ms: 1000", "deadline_ms: 900"))
    reached = operator.ask("reload")["pipelines"]["cam"]
    assert (reached["deadline_ms"], reached["overrides"]) == (900.0, {"threshold": 0.75})
    cam.send(signal.SIGTERM)
    cam.wait()
    operator.wait_for("edge/dev/status", lambda m: m.payload == b"offline")
    operator.forget()
    edited = digits_30fps.replace("deadline_ms: 1000", "deadline_ms: 900")
    start(device(broker, f"  cam: {edited}") + ALL)
    operator.wait_for_return()
    assert operator.ask("ping")["pipelines"]["cam"]["overrides"] == {"threshold": 0.75}
    reset = operator.ask("set", pipeline="cam", reset=True)["pipelines"]["cam"]
    assert (reset["threshold"], reset["overrides"]) == (0.0, {})


def test_a_snapshot_is_a_jpeg_on_the_topic_that_the_answer_names(
    operator: Operator, cam: Daemon
) -> None:
    running(operator)
    answer = operator.ask("snapshot", pipeline="cam")
    assert answer["done"], answer
    assert answer["picture"] == "edge/dev/cam/snapshot"
    message = operator.wait_for("edge/dev/cam/snapshot")
    assert not message.retain
    picture = cv2.imdecode(np.frombuffer(message.payload, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] == 320
    assert operator.ask("pause", pipeline="cam")["done"]
    assert operator.ask("snapshot", pipeline="cam")["message"] == (
        "cam is paused: there is nothing to see"
    )
    assert cam.process.poll() is None


def test_the_flight_recorder_is_dumped(operator: Operator, cam: Daemon) -> None:
    running(operator)
    answer = operator.ask("dump", pipeline="cam")
    assert answer["done"], cam.log
    (file,) = answer["files"]
    assert Path(file).stat().st_size > 0


def test_a_reload_that_fails_says_why(operator: Operator, cam: Daemon) -> None:
    running(operator)
    cam.config.write_text(cam.config.read_text().replace("deadline_ms: 1000", "deadline_ms: no"))
    answer = operator.ask("reload")
    assert not answer["done"]
    assert "deadline_ms" in answer["message"]
    operator.result_after()


def test_mqtt_3_1_1_gets_its_answers_on_a_plain_topic_with_the_id(
    broker: Mosquitto, cam: Daemon
) -> None:
    assert cam.process.poll() is None
    with Operator(broker.port, MQTTProtocolVersion.MQTTv311) as operator:
        running(operator)
        operator.client.publish("edge/dev/command/ping", b'{"id":"a-7"}', qos=1)
        answer = json.loads(operator.wait_for("edge/dev/command/ping/answer").payload)
    assert (answer["id"], answer["done"]) == ("a-7", True)


def test_nothing_is_obeyed_unless_the_yaml_allows_it(
    broker: Mosquitto, operator: Operator, start: Start, digits_30fps: str
) -> None:
    text = device(broker, f"  cam: {digits_30fps}")
    daemon = start(text)
    running(operator)
    operator.publish("edge/dev/command/pause", b'{"pipeline":"cam"}').wait_for_publish(PATIENCE_S)
    daemon.config.write_text(text + "\ncommands: {allow: [ping]}\n")
    daemon.send(signal.SIGHUP)
    operator.wait_for("edge/dev/events", lambda m: json.loads(m.payload)["event"] == "reloaded")
    refused = operator.ask("pause", pipeline="cam")
    assert not refused["done"]
    assert refused["message"] == "`pause` is not among the `commands.allow` of the YAML"
    assert operator.ask("ping")["pipelines"]["cam"]["state"] == "running"
    assert not operator.of("edge/dev/command/pause/answer")


def test_a_retained_command_is_ignored_and_told(
    broker: Mosquitto, operator: Operator, start: Start, digits_30fps: str
) -> None:
    lying = operator.publish("edge/dev/command/pause", b'{"pipeline":"cam"}', retain=True)
    lying.wait_for_publish(PATIENCE_S)
    start(device(broker, f"  cam: {digits_30fps}") + ALL)
    told = operator.wait_for(
        "edge/dev/events", lambda m: json.loads(m.payload)["event"] == "command_refused"
    )
    assert "retained" in json.loads(told.payload)["message"]
    assert operator.ask("ping")["pipelines"]["cam"]["state"] in ("starting", "running")


def test_a_response_topic_that_would_loop_gets_no_answer(operator: Operator, cam: Daemon) -> None:
    running(operator)
    for topic in ("edge/dev/command/ping", "edge/dev/status", "edge/other/command/pause"):
        operator.publish("edge/dev/command/ping", b'{"id":"loop"}', ResponseTopic=topic)
        operator.wait_for("edge/dev/command/ping/answer")
        operator.heard = [each for each in operator.heard if "answer" not in each.topic]
    assert operator.ask("ping")["done"]
    asked = [each for each in operator.of("edge/dev/command/ping") if "id" in each]
    assert asked == [{"id": "loop"}] * 3 + asked[3:]
    assert all("done" not in each for each in asked)
    assert not operator.of("edge/other/command/pause")
    assert cam.process.poll() is None


def hostile(dice: random.Random) -> tuple[str, bytes, dict[str, Any]]:
    """One message that must change nothing: a topic, a payload, what an answer is wanted with."""
    commands = list(REQUESTS)
    strange = ["", " ", "answer", "PAUSE", "pause ", "🦉", "..", "%00", "x" * 900]
    level = dice.choice([*commands, *strange])
    level = dice.choice([level, "".join(dice.choices(string.printable, k=20)), "\u202e\ufffe"])
    # A broker lets through neither wildcards, nor control characters, nor what is none at all.
    level = "".join(sign for sign in level if sign not in "+#\ufffe\x7f" and sign >= " ")
    topic = dice.choice(["edge/dev/command/", "edge/dev/command/pause/", "edge/dev/"]) + level
    if topic in ("edge/dev/status", "edge/dev/info"):
        topic += "x"
    wrong: list[Any] = [None, True, "1", 1e400, -1e400, float("nan"), [], {}, 10**400, "cam\0", -1]
    payloads = [
        dice.randbytes(dice.randrange(1, 300)),
        b"[" * dice.randrange(1, 4097),
        b'{"pipeline":' * dice.randrange(1, 300) + b"1",
        b"A" * dice.randrange(4000, 20_000),
        json.dumps({"pipeline": dice.choice(wrong), "paused": dice.choice(wrong)}).encode(),
        json.dumps({"pipeline": "cam", "threshold": dice.choice([*wrong[1:], 7.0])}).encode(),
        json.dumps({"pipeline": "cam", "deadline_ms": dice.choice([*wrong[1:], 1e9, 0])}).encode(),
        json.dumps({"pipeline": "".join(dice.choices(string.printable, k=9)), "x": 1}).encode(),
        b'{"pipeline":"cam","__class__":"os.system","id":"\xff"}',
        b'{"pipeline":"\\ud800"}',
        json.dumps({"pipeline": "../../etc/passwd", "id": "i" * 129}).encode(),
    ]
    payload = dice.choice(payloads)
    if topic.endswith(("dump", "reload", "ping")) and not payload.strip():
        payload = b"\0"
    wanted: dict[str, Any] = {}
    if dice.random() < 0.5:
        wanted["ResponseTopic"] = dice.choice(
            ["edge/dev/command/pause", "edge/dev/status", "$SYS/x", "my/" + "y" * 400, "my/answers"]
        )
    if dice.random() < 0.5:
        wanted["CorrelationData"] = dice.randbytes(dice.choice([1, 16, 5000]))
    return topic, payload, wanted


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_ten_thousand_hostile_messages_change_nothing(operator: Operator, cam: Daemon) -> None:
    running(operator)
    before = operator.ask("ping")["pipelines"]
    (worker,) = cam.workers()
    dice = random.Random(FUZZ_SEED)  # noqa: S311
    first_kb = 0
    for number in range(HOSTILE):
        topic, payload, wanted = hostile(dice)
        sent = operator.publish(topic, payload, **wanted)
        if number % 500 == 499:
            sent.wait_for_publish(PATIENCE_S)
            operator.result_after()
            first_kb = first_kb or resident_kb(cam.process.pid)
    grown_kb = resident_kb(cam.process.pid) - first_kb
    after = wait_for_an_answer(operator)
    assert after["pipelines"] == before
    assert cam.workers() == [worker]
    assert "Traceback" not in cam.log
    assert grown_kb < 32_000
    events = {each["event"] for each in operator.of("edge/dev/cam/events")}
    assert not events & {"steered", "worker_died", "source_lost"}
    device_events = [each["event"] for each in operator.of("edge/dev/events")]
    assert "command_refused" in device_events
    assert "reloaded" not in device_events
    assert not [m for m in operator.heard if m.topic == "edge/dev/status" and b"{" in m.payload]
    operator.result_after()


def wait_for_an_answer(operator: Operator) -> Any:
    """Ask until it is answered: past the rate limit nothing is."""
    end = time.monotonic() + PATIENCE_S
    number = 0
    while time.monotonic() < end:
        number += 1
        name = f"after-{number}"
        operator.publish(
            "edge/dev/command/ping", json.dumps({"id": name}).encode(), ResponseTopic="my/last"
        )
        operator.result_after()
        for message in list(operator.heard):
            if message.topic == "my/last":
                return json.loads(message.payload)
    raise TimeoutError("it does not answer any more")
