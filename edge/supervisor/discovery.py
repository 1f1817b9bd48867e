"""What Home Assistant is told this device is: one discovery payload with all its entities.

The format is https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload; keys are
written out, not abbreviated. Templates read the messages of `edge.states`.
"""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any, NamedTuple

from edge import __version__
from edge.messages import OFFLINE, ONLINE, status_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline

MAKER = "edge-runtime"
DIAGNOSTIC = {"entity_category": "diagnostic"}
MEASURED = {"state_class": "measurement"}
Components = dict[str, dict[str, Any]]


class Discovery(NamedTuple):
    """What is announced, and where."""

    topic: str
    common: dict[str, Any]
    """All of the payload but the entities."""
    components: Components
    """The entities by a key that stays the same for as long as the YAML calls them the same."""

    def payload(self, gone: Mapping[str, str]) -> bytes:
        """Return the payload; `gone` names the platforms of entities to be removed, by key.

        An entity that has no more than its platform is one that is removed.
        """
        removed = {key: {"platform": platform} for key, platform in gone.items()}
        return json.dumps(
            {**self.common, "components": {**removed, **self.components}}, ensure_ascii=False
        ).encode("utf-8", "replace")


def discover(
    device: Device, identity: str, *, temperature: bool, under_voltage: bool, commands: bool
) -> Discovery:
    """Return how the device is announced.

    `identity` is the same at every start and different on every machine. Temperature and voltage
    are announced where the machine tells them, what steers a pipeline where `commands` are obeyed.
    """
    base = f"{device.mqtt.base_topic}/{device.device}"
    status = status_topic(device.mqtt.base_topic, device.device)
    expire_after = round(3 * device.home_assistant.interval_s) + 5
    components: Components = {
        "status": {
            "platform": "binary_sensor",
            "name": "Status",
            "device_class": "connectivity",
            "state_topic": status,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
            "availability": [],  # it says itself whether the device is there
            **DIAGNOSTIC,
        }
    }
    if temperature:
        components["temperature"] = {
            **_sensor("Temperature", "value_json.temperature_c"),
            "state_topic": f"{base}/state",
            "expire_after": expire_after,
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 1,
            **MEASURED,
            **DIAGNOSTIC,
        }
    if under_voltage:
        components["under_voltage"] = {
            **_binary_sensor("Under-voltage", "value_json.under_voltage"),
            "state_topic": f"{base}/state",
            "expire_after": expire_after,
            "device_class": "problem",
            **DIAGNOSTIC,
        }
    for name, pipeline in device.pipelines.items():
        state = {"state_topic": f"{base}/{name}/state"}
        watched = [each.label for each in device.home_assistant.occupancy if each.pipeline == name]
        for key, component in _of_pipeline(name, pipeline, watched):
            components[key] = {**component, **state, "expire_after": expire_after}
        if commands:
            components |= _steering(name, base, state)
    for key, component in components.items():
        component["unique_id"] = f"{identity}.{key}"
    return Discovery(
        topic=f"{device.home_assistant.prefix}/device/{identity}/config",
        common={
            "device": {
                "identifiers": [identity],
                "name": device.device,
                "manufacturer": MAKER,
                "model": platform.machine(),
                "sw_version": __version__,
            },
            "origin": {"name": MAKER, "sw_version": __version__},
            "availability": [
                {"topic": status, "payload_available": ONLINE, "payload_not_available": OFFLINE}
            ],
        },
        components=components,
    )


def _of_pipeline(
    name: str, pipeline: Pipeline, watched: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What reads a pipeline's state. Names of pipelines and sources hold no dot, nor quotes."""
    for source in pipeline.all_sources if pipeline.decode.type != "raw" else ():
        alone = len(pipeline.all_sources) == 1
        key = name if alone else f"{name}.{source}"
        title = name if alone else f"{name} {source}"
        top = f"value_json.tops['{source}']"
        yield f"label.{key}", {**_sensor(f"{title} label", f"{top}.label"), "icon": "mdi:label"}
        yield (
            f"score.{key}",
            {
                **_sensor(f"{title} score", f"{top}.score"),
                "icon": "mdi:gauge",
                "suggested_display_precision": 2,
                **MEASURED,
            },
        )
    for label in watched:
        # A JSON string is a string of Jinja's, too.
        seen = f"value_json.occupied[{json.dumps(label, ensure_ascii=False)}]"
        yield (
            f"occupancy.{name}.{label}",
            {**_binary_sensor(f"{name} {label}", seen), "device_class": "occupancy"},
        )
    yield (
        f"p99.{name}",
        {
            **_sensor(f"{name} P99", "value_json.p99_ms"),
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 1,
            **MEASURED,
            **DIAGNOSTIC,
        },
    )
    yield (
        f"fps.{name}",
        {
            **_sensor(f"{name} fps", "value_json.fps"),
            "icon": "mdi:speedometer",
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
            **MEASURED,
            **DIAGNOSTIC,
        },
    )
    yield (
        f"misses.{name}",
        {
            **_sensor(f"{name} deadline misses", "value_json.deadline_misses_total"),
            "icon": "mdi:timer-alert-outline",
            "state_class": "total_increasing",
            **DIAGNOSTIC,
        },
    )
    yield (
        f"running.{name}",
        {
            **_binary_sensor(f"{name} running", "value_json.state == 'running'"),
            "device_class": "running",
            **DIAGNOSTIC,
        },
    )


def _steering(name: str, base: str, state: dict[str, str]) -> Components:
    """What steers a pipeline: pause, and a picture of what it sees."""
    return {
        f"pause.{name}": {
            "platform": "switch",
            "name": f"{name} paused",
            "icon": "mdi:pause",
            "command_topic": f"{base}/command/pause",
            "qos": 1,
            "payload_on": json.dumps({"pipeline": name, "paused": True}),
            "payload_off": json.dumps({"pipeline": name, "paused": False}),
            "value_template": "{{ 'ON' if value_json.paused else 'OFF' }}",
            "state_on": "ON",
            "state_off": "OFF",
            **state,
        },
        f"snapshot.{name}": {
            "platform": "image",
            "name": f"{name} snapshot",
            "image_topic": f"{base}/{name}/snapshot",
            "content_type": "image/jpeg",
        },
        f"take_snapshot.{name}": {
            "platform": "button",
            "name": f"{name} take snapshot",
            "icon": "mdi:camera",
            "command_topic": f"{base}/command/snapshot",
            "qos": 1,
            "payload_press": json.dumps({"pipeline": name}),
        },
    }


def _sensor(name: str, value: str) -> dict[str, Any]:
    # A value that is null comes out as `None`, which Home Assistant reads as unknown.
    return {"platform": "sensor", "name": name, "value_template": f"{{{{ {value} }}}}"}


def _binary_sensor(name: str, condition: str) -> dict[str, Any]:
    template = f"{{{{ 'ON' if {condition} else 'OFF' }}}}"
    return {"platform": "binary_sensor", "name": name, "value_template": template}
