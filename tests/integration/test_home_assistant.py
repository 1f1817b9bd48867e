"""A real daemon at a real broker, as Home Assistant sees it there."""

import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from paho.mqtt import publish
from parties import PATIENCE_S, Daemon, Listener, Mosquitto, free_port
from pydantic import TypeAdapter

from edge.cli import main
from edge.identity import client_id
from edge.states import State

Start = Callable[..., Daemon]
IDENTITY = client_id("dev")
CONFIG = f"homeassistant/device/{IDENTITY}/config"
OCCUPANCY = "occupancy: [{pipeline: a, label: '7', off_delay_s: 60}]"


@pytest.fixture
def house(broker: Mosquitto) -> Iterator[Listener]:
    """A client that hears all there is."""
    with Listener(broker.port, "#") as listening:
        yield listening


def yaml(
    broker: str, pipelines: dict[str, str], options: str = "enabled: true", name: str = "dev"
) -> str:
    return (
        f"device: {name}\nmqtt: {{broker: '{broker}'}}\ntelemetry: {{interval_s: 0.5}}\n"
        f"home_assistant: {{{options}}}\npipelines:\n"
        + "".join(f"  {each}: {text}\n" for each, text in pipelines.items())
    )


def retained(broker: Mosquitto) -> dict[str, Any]:
    """Return what lies at the broker; it delivers that before anything newer."""
    with Listener(broker.port, "#") as listening:
        publish.single("done", "0", qos=1, port=broker.port)
        listening.wait_for("done")
        return {each.topic: each.payload for each in listening.heard if each.retained}


def publish_birth(broker: Mosquitto, word: str = "online") -> None:
    publish.single("homeassistant/status", word, qos=1, port=broker.port)


def memory(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state").glob("home-assistant-*"))


def end(daemon: Daemon) -> None:
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log


def run_without_a_broker(start: Start, pipeline: str, options: str = "enabled: true") -> None:
    daemon = start(yaml(f"mqtt://127.0.0.1:{free_port()}", {"a": pipeline}, options))
    wait_until(lambda: "model_loaded" in daemon.log)
    end(daemon)


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_the_device_is_announced_and_its_states_come_at_a_low_rate(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str
) -> None:
    options = f"enabled: true, min_interval_s: 0.5, interval_s: 1, {OCCUPANCY}"
    daemon = start(yaml(broker.url, {"a": digits_30fps}, options))
    payload = house.wait_for(CONFIG)
    topics = {each["state_topic"] for each in payload["components"].values()}
    assert topics - {"edge/dev/state"} == {"edge/dev/a/state", "edge/dev/status"}
    assert payload["availability"][0]["topic"] == "edge/dev/status"
    last = house.wait_for("dev/a/state", lambda state: state["p99_ms"] is not None)
    end(daemon)

    assert last["state"] == "running"
    assert last["fps"] > 0
    assert last["deadline_misses_total"] is not None
    (top,) = last["tops"].values()
    assert top["label"] in set("0123456789")
    assert last["occupied"] == {"7": True}
    states = house.of("dev/a/state")
    for each in states:
        jsonschema.validate(each, TypeAdapter(State).json_schema())
    assert len(states) < len(house.of("a/predictions")) / 4
    moments = [datetime.fromisoformat(each["at"].replace("Z", "+00:00")) for each in states]
    assert all((b - a).total_seconds() >= 0.49 for a, b in pairwise(moments))
    assert {CONFIG, "dev/a/state"} <= retained(broker).keys()


def test_it_is_announced_again_when_home_assistant_comes_up(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str
) -> None:
    start(yaml(broker.url, {"a": digits_30fps}))
    first = house.wait_for(CONFIG)
    publish_birth(broker, "offline")
    publish_birth(broker)
    assert house.wait_for_many(CONFIG, 2) == [first, first]


def test_what_a_reload_removes_is_removed_there(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str
) -> None:
    both = {"a": digits_30fps, "b": digits_30fps}
    daemon = start(yaml(broker.url, both, f"enabled: true, {OCCUPANCY}"))
    components = house.wait_for(CONFIG)["components"]
    house.wait_for("dev/b/state")
    daemon.config.write_text(yaml(broker.url, {"a": digits_30fps}), encoding="utf-8")
    daemon.send(signal.SIGHUP)
    now = house.wait_for_many(CONFIG, 2)[1]["components"]
    gone = {key for key, each in now.items() if len(each) == 1}
    assert gone == {key for key in components if ".b" in key or "occupancy" in key}
    assert {key: each["platform"] for key, each in components.items() if key in gone} == {
        key: now[key]["platform"] for key in gone
    }
    house.wait_for("dev/b/state", lambda payload: payload == "")
    assert "dev/b/state" not in retained(broker)
    assert "dev/a/state" in retained(broker)


def test_what_went_while_the_daemon_was_down_is_removed_at_its_next_start_and_then_forgotten(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps, "b": digits_30fps}))
    house.wait_for("dev/b/state")
    end(daemon)
    one = yaml(broker.url, {"a": digits_30fps})
    run_without_a_broker(start, digits_30fps)
    daemon = start(one)
    second = house.wait_for_many(CONFIG, 2)[1]["components"]
    assert second["label.b"] == {"platform": "sensor"}
    house.wait_for("dev/b/state", lambda payload: payload == "")
    (file,) = memory(tmp_path)
    wait_until(lambda: "label.b" not in file.read_text())
    end(daemon)
    daemon = start(one)
    third = house.wait_for_many(CONFIG, 3)[2]["components"]
    assert "label.b" not in third


def test_switched_off_everything_is_removed(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps}))
    house.wait_for("dev/a/state")
    daemon.config.write_text(yaml(broker.url, {"a": digits_30fps}, ""), encoding="utf-8")
    daemon.send(signal.SIGHUP)
    house.wait_for(CONFIG, lambda payload: payload == "")
    house.wait_for("dev/a/state", lambda payload: payload == "")
    wait_until(lambda: not memory(tmp_path))
    end(daemon)
    assert retained(broker).keys() == {"dev/status", "dev/info"}


def test_switched_off_while_the_daemon_was_down_all_is_removed_once_the_broker_is_there(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps}))
    house.wait_for("dev/a/state")
    end(daemon)
    run_without_a_broker(start, digits_30fps, "")
    assert memory(tmp_path)
    daemon = start(yaml(broker.url, {"a": digits_30fps}, ""))
    house.wait_for(CONFIG, lambda payload: payload == "")
    wait_until(lambda: not memory(tmp_path))
    end(daemon)
    assert retained(broker).keys() == {"dev/status", "dev/info"}


def test_a_device_of_another_name_takes_its_old_one_back(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps}))
    house.wait_for("dev/a/state")
    text = yaml(broker.url, {"a": digits_30fps}, name="other")
    daemon.config.write_text(text, encoding="utf-8")
    daemon.send(signal.SIGHUP)
    house.wait_for(CONFIG, lambda payload: payload == "")
    other = house.wait_for(f"{client_id('other')}/config")
    assert other["device"]["name"] == "other"
    assert "dev/a/state" not in retained(broker)


def test_another_prefix_moves_the_announcement(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps}))
    house.wait_for("dev/a/state")
    options = "enabled: true, prefix: house, birth_topic: house/status"
    text = yaml(broker.url, {"a": digits_30fps}, options)
    daemon.config.write_text(text, encoding="utf-8")
    daemon.send(signal.SIGHUP)
    house.wait_for(CONFIG, lambda payload: payload == "")
    house.wait_for(f"house/device/{IDENTITY}/config")
    publish.single("house/status", "online", qos=1, port=broker.port)
    house.wait_for_many(f"house/device/{IDENTITY}/config", 2)


def test_nothing_is_announced_unless_it_is_switched_on(
    broker: Mosquitto, house: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    daemon = start(yaml(broker.url, {"a": digits_30fps}, ""), "--max-frames", "30")
    assert daemon.wait() == 0, daemon.log
    house.wait_for("dev/status", lambda word: word == "offline")
    assert not [each for each in house.heard if "homeassistant" in each.topic]
    assert not house.of("/state")
    assert not memory(tmp_path)


def test_a_label_that_the_model_does_not_have_is_told_by_the_check(
    tmp_path: Path, digits_30fps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dev.yaml"
    options = "enabled: true, occupancy: [{pipeline: a, label: '7'}, {pipeline: a, label: seven}]"
    path.write_text(yaml("mqtt://127.0.0.1", {"a": digits_30fps}, options), encoding="utf-8")
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"edge check: {path}:4: home_assistant.occupancy[1].label: 'seven' is none of the labels "
        "of a's model\n"
    )
