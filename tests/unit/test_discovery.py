"""What Home Assistant is told the device is, held against the keys its own schemas allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.config.device import Device
from edge.config.load import load
from edge.errors import ConfigError
from edge.supervisor.discovery import Discovery, discover

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "support" / "home-assistant-2025.4.json").read_text("utf-8")
)
STRANGE = "a \"q\" 'x' }} {{ %} 😀 é \\ / ü"


def device(**options: Any) -> Device:
    one = {"source": {"type": "synthetic"}, "model": {"path": "x"}}
    two = {
        "sources": {name: {"type": "synthetic", "fps": 3} for name in ("gate", "yard")},
        "model": {"path": "x"},
    }
    raw = one | {"decode": {"type": "raw"}}
    watched = [
        {"pipeline": "two", "label": "person", "off_delay_s": 60},
        {"pipeline": "one", "label": STRANGE},
    ]
    return Device.model_validate(
        {
            "device": "porch-pi",
            "home_assistant": {"enabled": True, "occupancy": watched} | options,
            "pipelines": {"one": one, "two": two, "raw": raw},
        }
    )


def announced(*, machine: bool = True, commands: bool = True, **options: Any) -> Discovery:
    return discover(
        device(**options),
        "edge-0123",
        temperature=machine,
        under_voltage=machine,
        commands=commands,
    )


def fits(value: dict[str, Any], schema: dict[str, list[str]]) -> None:
    assert set(value) <= set(schema["allowed"])
    assert set(value) >= set(schema["required"])


def test_every_key_is_one_that_home_assistant_knows() -> None:
    payload = json.loads(announced().payload({}))
    fits(payload, SCHEMA["discovery"])
    fits(payload["device"], SCHEMA["device"])
    fits(payload["origin"], SCHEMA["origin"])
    platforms = set()
    for component in payload["components"].values():
        platforms.add(platform := component.pop("platform"))
        fits(component, SCHEMA["platforms"][platform])
        assert component.get("entity_category", "diagnostic") in SCHEMA["entity_categories"]
        assert component.get("state_class", "measurement") in SCHEMA["state_classes"]
        kind, unit = component.get("device_class"), component.get("unit_of_measurement")
        if platform == "binary_sensor":
            assert kind in SCHEMA["binary_sensor_classes"]
        elif kind is not None:
            assert unit in SCHEMA["sensor_units"][kind]
        if platform == "sensor" and unit is not None:
            assert "state_class" in component  # else it has no statistics
    assert platforms == set(SCHEMA["platforms"])


def test_every_pipeline_has_its_entities_and_each_source_a_label() -> None:
    keys = set(announced(machine=False, commands=False).components)
    assert keys == {
        "status",
        *(f"{kind}.{name}" for kind in ("p99", "fps", "misses", "running") for name in NAMES),
        *(f"{kind}.{of}" for kind in ("label", "score") for of in ("one", "two.gate", "two.yard")),
        "occupancy.two.person",
        f"occupancy.one.{STRANGE}",
    }


NAMES = ("one", "two", "raw")


def test_what_steers_is_there_only_where_commands_are_obeyed() -> None:
    steering = announced(commands=True).components.keys() - announced(commands=False).components
    assert steering == {
        f"{kind}.{name}" for kind in ("pause", "snapshot", "take_snapshot") for name in NAMES
    }
    switch = announced().components["pause.one"]
    assert switch["command_topic"] == "edge/porch-pi/command/pause"
    assert json.loads(switch["payload_on"]) == {"pipeline": "one", "paused": True}
    assert json.loads(switch["payload_off"]) == {"pipeline": "one", "paused": False}
    button = announced().components["take_snapshot.one"]
    assert button["command_topic"] == "edge/porch-pi/command/snapshot"
    assert json.loads(button["payload_press"]) == {"pipeline": "one"}
    assert announced().components["snapshot.one"]["image_topic"] == "edge/porch-pi/one/snapshot"


def test_all_is_unavailable_when_the_device_is_offline_but_what_says_so() -> None:
    payload = json.loads(announced().payload({}))
    assert payload["availability"] == [
        {
            "topic": "edge/porch-pi/status",
            "payload_available": "online",
            "payload_not_available": "offline",
        }
    ]
    status = payload["components"].pop("status")
    assert status["availability"] == []
    assert (status["payload_on"], status["payload_off"]) == ("online", "offline")
    assert not any("availability" in each for each in payload["components"].values())


def test_ids_are_unique_and_come_from_the_identity() -> None:
    found = announced()
    assert found.topic == "homeassistant/device/edge-0123/config"
    assert found.common["device"]["identifiers"] == ["edge-0123"]
    ids = [each["unique_id"] for each in found.components.values()]
    assert len(set(ids)) == len(ids)
    assert all(each.startswith("edge-0123.") for each in ids)
    assert announced(prefix="ha/house").topic == "ha/house/device/edge-0123/config"


def test_states_expire_only_after_several_of_them_are_missing() -> None:
    for component in announced(interval_s=30).components.values():
        if component["platform"].endswith("sensor") and component["name"] != "Status":
            assert component["expire_after"] == 95
            assert component["state_topic"].endswith("/state")


def test_a_label_of_any_signs_is_a_string_of_the_template() -> None:
    template = announced().components[f"occupancy.one.{STRANGE}"]["value_template"]
    literal = template.partition("[")[2].rpartition("]")[0]
    assert json.loads(literal) == STRANGE


def test_what_is_gone_is_left_with_its_platform_alone() -> None:
    found = json.loads(announced().payload({"label.old": "sensor", "label.one": "sensor"}))
    assert found["components"]["label.old"] == {"platform": "sensor"}
    assert len(found["components"]["label.one"]) > 1


def test_it_is_off_unless_switched_on() -> None:
    plain = {"pipelines": {"a": {"source": {"type": "synthetic"}, "model": {"path": "x"}}}}
    assert not Device.model_validate(plain).home_assistant.enabled


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "occupancy: [{pipeline: porch, label: cat}]",
            "d.yaml:2: home_assistant.occupancy[0].pipeline: there is no such pipeline; known: a",
        ),
        (
            "occupancy: [{pipeline: a, label: cat}, {pipeline: a, label: cat}]",
            "d.yaml:2: home_assistant.occupancy[1]: watches 'cat' of a a second time",
        ),
        ("prefix: home/#", "d.yaml:2: home_assistant.prefix"),
        ("birth_topic: +/status", "d.yaml:2: home_assistant.birth_topic"),
        ("interval_s: 0", "d.yaml:2: home_assistant.interval_s"),
    ],
)
def test_what_cannot_be_announced_is_told_with_its_line(
    tmp_path: Path, options: str, problem: str
) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(
        f"device: d\nhome_assistant: {{enabled: true, {options}}}\n"
        "pipelines: {a: {source: {type: synthetic}, model: {path: x}}}\n"
    )
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert problem in str(raised.value)
