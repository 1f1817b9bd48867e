"""The service from its installation on: starting, saying how it is, taking a new configuration."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from parties import Mosquitto

from system.service import EDGE, Service, exposure, wait_for_another_boot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parties import Listener


MOST_EXPOSURE = 2.0


@pytest.mark.usefixtures("service")
def test_predictions_arrive_at_a_broker_outside(listener: Listener) -> None:
    result = listener.wait_for("porch-pi/digits/predictions")
    assert result["predictions"][0]["label"] == result["truth"]


def test_it_runs_what_lies_in_its_own_folders_for_homes_are_hidden(service: Service) -> None:
    printed = service.container.run("cat /etc/edge-runtime/device.yaml")
    assert "path: /var/lib/edge-runtime/models/digits.tflite" in printed
    assert "# beside this file" in printed  # comments are kept
    assert service.container.run(f"nsenter -m -t {service.pid} ls /home") == ""


def test_installing_the_same_again_changes_nothing_and_says_so(service: Service) -> None:
    before = service.pid
    printed = service.install(service.yaml())
    assert "nothing has changed, it runs" in printed
    assert "written" not in printed
    assert service.pid == before


def test_a_changed_yaml_is_taken_without_a_restart(service: Service, listener: Listener) -> None:
    before = service.pid
    assert "told to read its configuration again" in service.install(service.yaml(fps=12))
    listener.wait_for_event("reloaded")
    listener.wait_for("/digits/metrics", lambda each: 10 < each["fps"] < 14)
    assert service.pid == before


def test_a_changed_model_needs_a_restart(service: Service) -> None:
    before, labels = service.pid, "/home/pi/labels.txt"
    kept = service.container.run(f"cat {labels}")
    try:
        service.container.write(labels, kept.replace("0", "zero"))
        printed = service.install(service.yaml())
    finally:
        service.container.write(labels, kept)
    assert "models/labels.txt: written" in printed
    assert "started anew" in printed
    assert service.pid != before


def test_a_wrong_yaml_is_refused_before_anything_is_touched(service: Service) -> None:
    before = service.pid
    printed = service.install(service.yaml().replace("deadline_ms", "dedline_ms"), status=2)
    assert "did you mean `deadline_ms`?" in printed
    assert service.pid == before
    assert "dedline" not in service.container.run("cat /etc/edge-runtime/device.yaml")


def test_a_wrong_yaml_stands_in_systemctl_status(service: Service, listener: Listener) -> None:
    listener.wait_for("/digits/predictions")
    service.container.run("sed -i s/deadline_ms/dedline_ms/ /etc/edge-runtime/device.yaml")
    service.run("reload")
    wrong = "pipelines.digits.dedline_ms: is not known here; did you mean `deadline_ms`?"
    printed = service.container.wait_for(
        f"systemctl status {service.unit}", lambda status: "not in force" in status
    )
    assert wrong in printed
    assert "Active: active (running)" in printed  # with the old one
    service.run("restart", status=1)
    printed = service.run("status", status=3)
    assert "Active: failed" in printed
    assert f'Status: "/etc/edge-runtime/device.yaml:11: {wrong}' in printed
    assert service.shown("NRestarts") == "0"  # it would not get right by itself


def test_status_says_how_it_is(service: Service) -> None:
    printed = service.container.wait_for(
        f"systemctl status {service.unit}", lambda status: "P99" in status
    )
    assert "digits running (" in printed
    assert "connected to 127.0.0.1" in printed
    printed = service.container.run(f"{EDGE} service status")
    assert "edge-runtime.service: active (running) since" in printed
    assert ", enabled" in printed
    service.run("stop")
    assert "inactive (dead)" in service.container.run(f"{EDGE} service status", status=1)


def test_the_journal_knows_every_field(service: Service, listener: Listener) -> None:
    listener.wait_for("/digits/predictions")
    entry = json.loads(service.journal("--output=json EDGE_EVENT=model_loaded -n 1"))
    assert entry["_TRANSPORT"] == "journal"
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "edge"
    assert entry["EDGE_PIPELINE"] in {"digits", "other"}
    assert entry["MESSAGE"].startswith("model_loaded pipeline=")


@pytest.mark.parametrize("unit", ["edge-runtime.service", "edge-runtime@.service"])
def test_the_unit_as_it_is_exposes_little(service: Service, unit: str) -> None:
    found = f"{service.pictures.rpartition('/models')[0]}/systemd/{unit}"
    named = f"/root/{unit.replace('@', '@porch')}"
    printed = service.container.run(
        f"cp {found} {named}; systemd-analyze security --offline=yes {named}", status=None
    )
    assert exposure(printed) <= MOST_EXPOSURE


def test_it_is_exposed_little(service: Service) -> None:
    printed = service.container.run(f"systemd-analyze security {service.unit}", status=None)
    assert exposure(printed) <= MOST_EXPOSURE


def test_it_may_open_what_its_yaml_names_and_no_more(service: Service) -> None:
    assert service.shown("SupplementaryGroups") == ""
    camera = "  door:\n    source: {type: camera}\n    model: {path: digits.tflite}\n"
    service.install(service.yaml() + camera)
    assert service.shown("SupplementaryGroups") == "video"
    assert "char-video4linux rw" in service.shown("DeviceAllow")
    assert "char-usb_device" not in service.shown("DeviceAllow")


def test_real_time_is_allowed_where_it_is_asked_for(service: Service) -> None:
    assert service.shown("RestrictRealtime") == "yes"
    wanted = "    cpu: {scheduling: fifo, priority: 20}\n"
    service.install(service.yaml(pipelines=("digits",)) + wanted)
    assert service.shown("RestrictRealtime") == "no"
    assert service.shown("LimitRTPRIO") == "20"
    printed = service.container.run("systemd-analyze security edge-runtime", status=None)
    assert exposure(printed) <= MOST_EXPOSURE


def test_a_password_is_a_credential_of_the_service_alone(
    service: Service, guarded: tuple[Mosquitto, str]
) -> None:
    outside, password = guarded
    service.container.write("/home/pi/secret.txt", password, mode=0o600)
    text = service.yaml(mqtt="  username: edge\n  password_file: secret.txt\n")
    service.install(text.replace(str(service.port), str(outside.port)))
    service.container.wait_for(
        f"systemctl status {service.unit}",
        lambda status: f"connected to 127.0.0.1:{outside.port}" in status,
    )
    file = "/etc/edge-runtime/device.credentials/mqtt-password"
    assert service.container.run(f"stat -c '%U %a' {file}").split() == ["root", "600"]
    everything = service.container.run(
        f"cat /etc/edge-runtime/device.yaml /proc/{service.pid}/environ; journalctl; "
        f"systemctl show {service.unit}"
    )
    assert password not in everything


@pytest.fixture
def guarded(mosquitto: str, tmp_path: Path) -> Iterator[tuple[Mosquitto, str]]:
    """A broker that lets in the user `edge` with a password, and nobody else."""
    password = f"bread-and-butter-{uuid.uuid4()}"
    users = tmp_path / "users"
    users.write_text(f"edge:{password}\n")
    subprocess.run(["mosquitto_passwd", "-U", users], check=True)
    options = f"user root\nallow_anonymous false\npassword_file {users}"
    with Mosquitto(mosquitto, tmp_path, options) as running:
        yield running, password


def test_an_instance_lives_beside_with_folders_of_its_own(
    service: Service, listener: Listener, broker: Mosquitto
) -> None:
    instance = Service(service.container, broker.port, "gate")
    instance.install(instance.yaml(pipelines=("digits",)))
    listener.wait_for("gate/digits/predictions")
    listener.wait_for("porch-pi/digits/predictions")
    folders = service.container.run("ls /var/lib/private /run/private").split()
    assert folders.count("edge-runtime") == folders.count("edge-runtime-gate") == 2
    printed = service.container.run(f"{EDGE} service status")
    assert "edge-runtime@gate.service: active" in printed
    assert "edge-runtime.service: active" in printed
    service.container.run(f"{EDGE} service uninstall --name gate --purge")
    assert "gate" not in service.container.run(f"{EDGE} service status")
    assert "gate" not in service.container.run(
        "ls /etc/edge-runtime /var/lib /var/lib/private /run"
    )
    assert service.shown("ActiveState") == "active"


def test_it_is_gone_when_it_is_uninstalled_and_what_is_its_users_stays(service: Service) -> None:
    printed = service.container.run(f"{EDGE} service uninstall")
    assert "/etc/edge-runtime/device.yaml: kept" in printed
    assert "not installed" in service.container.run(f"{EDGE} service status", status=1)
    assert service.container.run("ls /etc/systemd/system").count("edge-runtime@.service") <= 1
    assert "edge-runtime.service: started" in service.install(service.yaml())


def test_after_a_reboot_it_starts_by_itself(
    service: Service, listener: Listener, recovered: Callable[[str, float], None]
) -> None:
    listener.wait_for("/digits/predictions")
    began = time.monotonic()
    service.container.reboot()
    wait_for_another_boot(listener)
    recovered("reboot, in order", time.monotonic() - began)


def test_after_a_power_cut_it_starts_by_itself(
    service: Service, listener: Listener, recovered: Callable[[str, float], None]
) -> None:
    listener.wait_for("/digits/predictions")
    began = time.monotonic()
    service.container.pull_the_plug()
    service.container.start()
    wait_for_another_boot(listener)
    recovered("power cut and boot", time.monotonic() - began)
