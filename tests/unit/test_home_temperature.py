"""A machine that tells its temperature and voltage, as Home Assistant hears of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from recorded_pi import RecordedPi

from edge.config.device import Device
from edge.config.load import broker_access
from edge.identity import client_id
from edge.spool.spool import Spool
from edge.supervisor.health import HealthWatch
from edge.supervisor.home_assistant import HomeAssistant
from edge.supervisor.outlet import Outlet
from edge.supervisor.sensor_log import SensorLog
from edge.supervisor.sensors import Sensors

if TYPE_CHECKING:
    from pathlib import Path


async def retained(sys: Path) -> dict[str, Any]:
    """Return what is kept for a broker that is not there, by a machine with this sysfs."""
    pipelines = {"a": {"source": {"type": "synthetic"}, "model": {"path": "x"}}}
    device = Device.model_validate(
        {"device": "dev", "home_assistant": {"enabled": True}, "pipelines": pipelines}
    )
    outlet_of_events = SimpleNamespace(tell=lambda *_, **__: None)
    daemon = SimpleNamespace(device=device, outlet=outlet_of_events)
    home = HomeAssistant({}, HealthWatch(cast("Any", daemon), SensorLog(Sensors(sys))))
    outlet = Outlet(
        device,
        access=broker_access(device.mqtt),
        boot="0123456789abcdef",
        spool=Spool("dev", device.mqtt.spool),
        sequence=itertools.count(),
        changed=lambda: None,
        answered=home.answered,
    )
    home.use(device, outlet, commands=False)
    home.close()
    return {topic: json.loads(text) for topic, text in outlet._broker._retained.items()}


def test_the_temperature_is_announced_and_told(tmp_path: Path) -> None:
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("48312\n")
    found = asyncio.run(retained(tmp_path))
    config = found[f"homeassistant/device/{client_id('dev')}/config"]
    assert config["components"]["temperature"]["state_topic"] == "edge/dev/state"
    assert found["edge/dev/state"]["temperature_c"] == pytest.approx(48.312)


def test_under_voltage_is_a_problem_that_is_announced_and_told(tmp_path: Path) -> None:
    pi = RecordedPi(tmp_path)
    pi.alarm(on=True)
    found = asyncio.run(retained(pi.sys))
    config = found[f"homeassistant/device/{client_id('dev')}/config"]
    entity = config["components"]["under_voltage"]
    assert (entity["platform"], entity["device_class"]) == ("binary_sensor", "problem")
    assert entity["state_topic"] == "edge/dev/state"
    assert found["edge/dev/state"]["under_voltage"] is True


def test_a_machine_that_does_not_tell_has_no_such_sensor(tmp_path: Path) -> None:
    found = asyncio.run(retained(tmp_path))
    config = found[f"homeassistant/device/{client_id('dev')}/config"]
    assert not {"temperature", "under_voltage"} & config["components"].keys()
    assert found.keys() == {f"homeassistant/device/{client_id('dev')}/config", "edge/dev/a/state"}
