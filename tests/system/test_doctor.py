"""`edge doctor` and `edge init` on a device with systemd: the service as its owner finds it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from parties import free_port

if TYPE_CHECKING:
    from system.container import Container

EDGE = "/opt/edge-runtime/bin/edge"
CONFIG = "/etc/edge-runtime/device.yaml"
UNIT = "edge-runtime.service"


def document(device: Container, arguments: str = "", *, user: str = "root") -> dict[str, Any]:
    """Run `edge doctor --json` as a user."""
    command = f"{EDGE} doctor --json {arguments}"
    printed = device.run(f"su {user} -s /bin/sh -c '{command}'", status=None)
    told: dict[str, Any] = json.loads(printed)
    return told


def of(told: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [each for each in told["findings"] if each["check"] == check]


@pytest.fixture(scope="module")
def device(container: Container) -> Container:
    """A device whose service is not installed, with a user who is nobody special."""
    container.run("useradd --create-home visitor")
    return container


def test_a_fresh_installation_is_well_and_is_told_what_is_next(device: Container) -> None:
    told = document(device)
    assert told["problems"] == 0, told
    assert [each["level"] for each in told["findings"] if each["group"] == "software"] == ["ok"] * 7
    (service,) = of(told, "service")
    assert (service["level"], service["cure"]) == ("warning", "sudo edge service install CONFIG")


def test_the_service_from_its_first_yaml_to_its_failure(device: Container) -> None:
    device.run(f"{EDGE} init mine.yaml --broker embedded:{free_port()}")
    device.run(f"{EDGE} check mine.yaml && {EDGE} service install mine.yaml")
    told = document(device, CONFIG)
    assert told["problems"] == 0, told
    (service,) = of(told, "service")
    assert service["level"] == "ok"
    assert (service["facts"]["state"], service["facts"]["enabled"]) == ("active", True)
    state, runtime, *_ = of(told, "disk")
    assert state["facts"]["folder"] == "/var/lib/edge-runtime"
    assert runtime["facts"]["file_system"] == "tmpfs"

    device.run(f"sed -i s/deadline_ms/deadline/ {CONFIG} && systemctl restart {UNIT}", status=1)
    told = document(device, CONFIG)
    (service,) = of(told, "service")
    assert service["level"] == "problem"
    assert "pipelines.main.deadline" in service["says"], service
    (mistake,) = of(told, "configuration")
    assert "did you mean `deadline_ms`?" in mistake["says"]

    seen = document(device, user="visitor")
    (service,) = of(seen, "service")
    assert (service["level"], service["facts"]["state"]) == ("problem", "failed")
    (state,) = of(seen, "state")
    assert (state["level"], state["says"]) == (
        "ok",
        "/var/lib/edge-runtime: root alone may look into it",
    )
    device.run(f"{EDGE} service uninstall")
