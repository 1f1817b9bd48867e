"""The doctor on cameras, ports, accelerators, rights and the service of a laid-out Pi."""

from __future__ import annotations

import grp
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_picamera import PACKAGES, FakePicamera
from raspberry_pi import lay_out, pi_4

from edge.config.device import Device
from edge.doctor.accelerators import edgetpu_library, edgetpu_package, find_edge_tpus
from edge.doctor.cameras import Camera, find_cameras
from edge.doctor.checks import cameras as camera_check
from edge.doctor.checks import service
from edge.doctor.checks.accelerators import Accelerators
from edge.doctor.checks.permissions import Permissions, by_group
from edge.doctor.checks.serial_ports import SerialPorts
from edge.doctor.patient import Patient
from edge.doctor.v4l2 import Format, Size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def nothing(_: Path) -> bool:
    return False


def test_without_rights_cameras_are_told_by_name_and_codecs_are_none(tmp_path: Path) -> None:
    pi_4(tmp_path)
    found = find_cameras(Patient(tmp_path, can_open=nothing))
    dev = tmp_path / "dev"
    assert [(each.kind, each.name, each.node) for each in found] == [
        ("ribbon", "imx219", dev / "video0"),
        ("v4l2", "HD Pro Webcam C920", dev / "video1"),
    ]
    assert [each.trouble for each in found] == [
        "picamera2 is not installed for this Python",
        "no permission to open it",
    ]


def test_a_camera_on_the_camera_port_is_known_by_what_libcamera_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi_4(tmp_path)
    fake = FakePicamera(tmp_path)
    fake.plug_in(np.zeros((48, 64, 3), np.uint8))
    for name, value in fake.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(PACKAGES)
    ribbon, _webcam = find_cameras(Patient(tmp_path))
    assert (ribbon.kind, ribbon.name, ribbon.trouble) == ("ribbon", "imx708", "")
    told, _ = camera_check.Cameras().look(Patient(tmp_path))
    assert told.level == "ok"
    assert "`type: picamera`" in told.says


def test_a_node_that_is_no_camera_says_so_instead_of_crashing_the_check(tmp_path: Path) -> None:
    pi_4(tmp_path)
    findings = list(camera_check.Cameras().look(Patient(tmp_path)))
    assert [each.level for each in findings] == ["warning", "warning"]
    assert "through libcamera" in findings[0].says
    assert findings[1].says.endswith("HD Pro Webcam C920: Inappropriate ioctl for device")


def a_device(**source: Any) -> Device:
    model = {"path": "/nowhere.tflite"}
    return Device.model_validate(
        {"pipelines": {"porch": {"source": {"type": "camera", **source}, "model": model}}}
    )


def webcam(node: Path) -> Camera:
    formats = (
        Format("MJPG", (Size(1920, 1080, (30.0,)), Size(1280, 720, (30.0,)), Size(640, 480, ()))),
        Format("YUYV", (Size(640, 480, (30.0,)),)),
    )
    return Camera("v4l2", "C920", node, None, "uvcvideo", formats)


@pytest.mark.parametrize(
    ("source", "level", "words"),
    [
        ({"width": 1280, "height": 720}, None, ""),
        ({"width": 1000, "height": 700}, "warning", "1000x700, and gets the nearest"),
        ({"fourcc": "H264"}, "warning", "H264, which it does not give"),
        ({"device": "/dev/video99"}, "problem", "wants /dev/video99, which is not there"),
    ],
)
def test_what_is_written_is_compared_with_what_the_camera_gives(
    source: dict[str, Any],
    level: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = tmp_path / "video0"
    node.touch()
    camera = webcam(node)
    monkeypatch.setattr(camera_check, "find_cameras", lambda _: [camera])
    device = a_device(**{"device": str(node)} | source)
    told, *about = camera_check.Cameras().look(Patient(tmp_path, device=device))
    assert (told.level, told.says) == (
        "ok",
        f"{node}: C920 (uvcvideo): MJPG to 1920x1080 at 30, YUYV to 640x480 at 30",
    )
    assert [each.level for each in about] == ([] if level is None else [level])
    assert all(words in each.says for each in about)


def test_whichever_camera_there_is_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [webcam(tmp_path / "video0")]
    monkeypatch.setattr(camera_check, "find_cameras", lambda _: found)
    patient = Patient(tmp_path, device=a_device())
    assert [each.level for each in camera_check.Cameras().look(patient)] == ["ok"]
    found.clear()
    none, wrong = camera_check.Cameras().look(patient)
    assert (none.level, wrong.level) == ("ok", "problem")
    assert wrong.says == "pipelines.porch wants a camera, and there is none"


def test_the_camera_port_is_not_opened_through_v4l2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr(
        camera_check,
        "find_cameras",
        lambda _: [Camera("ribbon", "imx219", node, None, "unicam", trouble="no picamera2")],
    )
    device = a_device(device=str(node))
    told, wrong = camera_check.Cameras().look(Patient(tmp_path, device=device))
    assert (told.level, wrong.level) == ("warning", "problem")
    assert "picamera" in (told.cure or "")
    assert wrong.cure == "write `type: picamera`"


def test_serial_ports_have_their_lasting_name_and_what_is_plugged_in(tmp_path: Path) -> None:
    pi_4(tmp_path)
    (finding,) = SerialPorts().look(Patient(tmp_path))
    by_id = tmp_path / "dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A1-if00-port0"
    assert finding.facts["ports"][str(by_id)] == "FT232R USB UART"
    assert finding.level == "warning", "the kernel's console is on serial0"
    lay_out(tmp_path, {"proc/cmdline": "console=tty1\n"})
    (finding,) = SerialPorts().look(Patient(tmp_path))
    assert finding.level == "ok"


def test_what_this_user_may_not_open_is_told_by_its_group(tmp_path: Path) -> None:
    pi_4(tmp_path)
    for path in (tmp_path / "dev").glob("*"):
        if path.is_file():
            path.chmod(0o660)
    (finding,) = Permissions().look(Patient(tmp_path, can_open=nothing))
    group = grp.getgrgid(os.getegid()).gr_name
    assert finding.level == "warning"
    assert str(tmp_path / "dev/bus/usb/002/003") in finding.facts["closed"]
    if group != "root":
        assert f"usermod -aG {group} " in (finding.cure or "")
    (finding,) = Permissions().look(Patient(tmp_path, can_open=lambda _: True))
    assert finding.level == "ok"


def test_a_node_that_no_group_may_open_is_roots(tmp_path: Path) -> None:
    node = tmp_path / "apex_0"
    node.touch()
    node.chmod(0o600)
    assert by_group([node]) == {"root": [node]}


def test_a_coral_on_usb_is_found_before_its_firmware_is_loaded(tmp_path: Path) -> None:
    pi_4(tmp_path)
    (found,) = find_edge_tpus(Patient(tmp_path))
    assert (found.bus, found.where, found.fresh, found.usb_mbps) == ("usb", "2-1", True, 5000)
    assert found.node == tmp_path / "dev/bus/usb/002/003"
    lay_out(
        tmp_path,
        {
            "sys/bus/usb/devices/2-1/idVendor": "18d1\n",
            "sys/bus/usb/devices/2-1/idProduct": "9302\n",
        },
    )
    (found,) = find_edge_tpus(Patient(tmp_path))
    assert not found.fresh


def test_a_coral_without_its_library_is_a_problem(tmp_path: Path) -> None:
    pi_4(tmp_path)
    told, missing = Accelerators().look(Patient(tmp_path))
    assert (told.level, missing.level) == ("ok", "problem")
    assert missing.what == "libedgetpu"


def test_a_coral_on_a_slow_port_and_one_without_its_driver(tmp_path: Path) -> None:
    pi_4(tmp_path)
    lay_out(
        tmp_path,
        {
            "sys/bus/usb/devices/2-1/speed": "480\n",
            "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1ac1\n",
            "sys/bus/pci/devices/0000:01:00.0/device": "0x089a\n",
        },
    )
    usb, pci, _library = Accelerators().look(Patient(tmp_path))
    assert (usb.level, pci.level) == ("warning", "problem")
    assert "USB 3" in (usb.cure or "")
    assert "gasket" in (pci.cure or "")
    lay_out(tmp_path, {"dev/apex_0": ""})
    assert [each.node for each in find_edge_tpus(Patient(tmp_path))][1] == tmp_path / "dev/apex_0"


def test_which_package_the_library_came_with(tmp_path: Path) -> None:
    machine = os.uname().machine
    lay_out(
        tmp_path,
        {
            f"usr/lib/{machine}-linux-gnu/libedgetpu.so.1": "",
            "var/lib/dpkg/status": "Package: libc6\nVersion: 2.36\n\nPackage: libedgetpu1-std\n"
            "Status: install ok installed\nVersion: 16.0\n",
        },
    )
    patient = Patient(tmp_path)
    assert edgetpu_package(patient) == "libedgetpu1-std 16.0"
    found = edgetpu_library(patient)
    assert found is not None
    assert found.name == "libedgetpu.so.1"
    assert edgetpu_library(Patient(tmp_path / "usr")) is None


HEALTHY = {
    "Id": "edge-runtime.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "StatusText": "2 pipelines run",
    "NRestarts": "0",
    "StateChangeTimestamp": "Wed 2026-11-25 10:00:00 UTC",
    "WatchdogUSec": "15s",
    "NeedDaemonReload": "no",
}


@pytest.mark.parametrize(
    ("change", "level", "words", "cure"),
    [
        ({}, "ok", "is active since Wed 2026-11-25 10:00:00 UTC: 2 pipelines run", None),
        (
            {"ActiveState": "failed", "Result": "exit-code"},
            "problem",
            "failed since Wed 2026-11-25 10:00:00 UTC: it ended with an error; it said: bad YAML",
            "journalctl -u edge-runtime.service",
        ),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog"},
            "problem",
            "did not answer the watchdog",
            "journalctl",
        ),
        ({"ActiveState": "inactive"}, "warning", "is inactive", "systemctl enable --now"),
        ({"UnitFileState": "disabled"}, "warning", "not start at boot", "systemctl enable"),
        ({"NeedDaemonReload": "yes"}, "warning", "unit was changed", "daemon-reload"),
        ({"WatchdogUSec": "0"}, "warning", "no watchdog", "edge service install"),
        ({"NRestarts": "3"}, "warning", "restarted 3 times", "journalctl"),
    ],
)
def test_units(change: dict[str, str], level: str, words: str, cure: str | None) -> None:
    finding = service.judge(HEALTHY | change, last_message="bad YAML")
    assert finding.level == level
    assert words in finding.says
    assert (finding.cure is None) if cure is None else (cure in (finding.cure or ""))


def test_where_systemd_does_not_run_there_is_nothing_to_install(tmp_path: Path) -> None:
    (finding,) = service.Service().look(Patient(tmp_path))
    assert (finding.level, finding.says) == ("ok", "systemd does not run here")


def in_place_of(programs: dict[str, str]) -> Callable[..., str | None]:
    """Answer as these programs of the system would."""
    return lambda *command, **_: next(
        (said for words, said in programs.items() if words in " ".join(command)), ""
    )


def test_units_and_instances_of_the_template_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    told = "\n".join(f"{key}={value}" for key, value in HEALTHY.items())
    instance = "edge-runtime@garden.service"
    programs = {
        "list-units": f"{instance} loaded failed failed Edge inference runtime\n",
        f"show {instance}": told.replace("edge-runtime.service", instance),
        "show edge-runtime.service": told.replace("LoadState=loaded", "LoadState=not-found"),
    }
    monkeypatch.setattr(service, "output_of", in_place_of(programs))
    (finding,) = service.Service().look(Patient(tmp_path))
    assert finding.facts["unit"] == instance
    monkeypatch.setattr(service, "output_of", lambda *_, **__: None)
    (finding,) = service.Service().look(Patient(tmp_path))
    assert (finding.level, finding.cure) == ("warning", "sudo edge service install CONFIG")
