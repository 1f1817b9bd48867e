"""`edge doctor` as its user runs it: a real broker, real crashes, an emulated camera."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import edge
from emulated_camera import EmulatedCamera
from parties import Mosquitto, free_port
from pki import Pki, tls_listener

from edge.config.load import broker_access
from edge.config.mqtt import Mqtt
from edge.doctor.cameras import find_cameras
from edge.doctor.finding import GROUPS
from edge.doctor.patient import Patient
from edge.doctor.reach import Reached, reach
from edge.doctor.v4l2 import Format, Size
from edge.errors import ConfigError
from edge.supervisor.broker import EmbeddedBroker

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "device_configs/demo.yaml"
Serve = Callable[..., Mosquitto]


def document(*arguments: str | Path, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """Run `edge doctor --json`; its exit status says whether there is a problem."""
    done = edge("doctor", "--json", *arguments, environ=environ)
    (line,) = done.stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert done.returncode == (1 if told["problems"] else 0), done.stderr
    return told


def of(told: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [each for each in told["findings"] if each["check"] == check]


def test_where_the_tests_run_the_software_is_well() -> None:
    told = document(DEMO)
    assert (told["format"], told["version"]) == ("edge-doctor", 1)
    software = [each for each in told["findings"] if each["group"] == "software"]
    assert {each["level"] for each in software} <= {"ok", "warning"}, software
    (python,) = of(told, "python")
    assert python["facts"]["bits"] in {32, 64}
    (configuration,) = of(told, "configuration")
    assert configuration["says"].endswith("ok, device demo, 1 pipeline")
    (broker,) = of(told, "broker")
    assert broker["says"].startswith("embedded (iotcore ")


def test_every_line_has_a_level_and_every_trouble_a_cure() -> None:
    told = document()
    assert told["findings"]
    for finding in told["findings"]:
        assert finding["group"] in GROUPS
        assert finding["level"] in {"ok", "warning", "problem"}
        assert (finding["cure"] is None) == (finding["level"] == "ok"), finding
    counts = [told[name] for name in ("ok", "warnings", "problems")]
    assert sum(counts) == len(told["findings"])


def test_in_a_pipe_it_is_plain_text_by_groups() -> None:
    done = edge("doctor", DEMO)
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert " ok" in lines[-1]


def test_every_mistake_in_the_yaml_is_a_problem(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    config.write_text("device: a/b\npipelines:\n  a:\n    source: {type: webcam}\n    model: {}\n")
    told = document(config)
    mistakes = of(told, "configuration")
    assert [each["level"] for each in mistakes] == ["problem"] * 3
    assert mistakes[0]["says"].startswith(f"{config}:1: device: ")
    assert mistakes[0]["cure"].endswith(f"`edge check {config}`")


def test_a_model_that_is_not_there_is_a_problem_as_edge_check_tells_it(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    config.write_text(
        "mqtt: {broker: embedded}\n"
        "pipelines:\n  a:\n    source: {type: synthetic}\n    model: {path: a.tflite}\n"
    )
    (wrong,) = of(document(config), "configuration")
    checked = edge("check", config)
    assert checked.returncode == ConfigError.exit_status
    assert checked.stderr == f"edge check: {wrong['says']}\n"


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    for arguments in (["--colour"], [str(tmp_path / "no.yaml")], [str(DEMO), "another"]):
        assert edge("doctor", *arguments).returncode == 2


def test_an_engine_that_crashes_is_a_problem_and_not_the_end_of_the_doctor(tmp_path: Path) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    )
    told = document(environ={"PYTHONPATH": str(tmp_path)})
    (litert,) = [each for each in of(told, "engines") if each["what"] == "litert"]
    assert litert["level"] == "problem"
    assert "does not work: killed by SIGILL" in litert["says"]


def test_an_opencv_that_cannot_be_imported_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    (opencv,) = of(document(environ={"PYTHONPATH": str(tmp_path)}), "opencv")
    assert opencv["level"] == "problem"
    assert "ImportError: libGL.so.1" in opencv["says"]
    assert opencv["cure"].endswith("--force-reinstall opencv-python-headless")


# The way to a broker


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def serve(mosquitto: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a mosquitto with these options; it is ended with the test."""
    running: list[Mosquitto] = []

    def start(options: str = "allow_anonymous true") -> Mosquitto:
        running.append(Mosquitto(mosquitto, tmp_path, options))
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.kill()


def reached(limit_s: float = 5, **mqtt: Any) -> Reached:
    return reach(broker_access(Mqtt.model_validate(mqtt)), limit_s=limit_s)


def test_a_broker_that_lets_us_in(serve: Serve) -> None:
    found = reached(broker=serve().url)
    assert (found.failed, found.trouble, found.protocol) == ("", "", "5")
    assert list(found.took_ms) == ["DNS", "TCP", "CONNACK"]
    assert found.addresses == ["127.0.0.1"]


def test_a_broker_of_mqtt_3_1_1_lets_us_in_too() -> None:
    with EmbeddedBroker() as broker:
        assert reached(broker=broker.url).protocol == "3.1.1"


def test_the_name_of_nobody_fails_at_dns() -> None:
    found = reached(broker="mqtt://no-such-broker.invalid")
    assert found.failed == "DNS"
    assert "no-such-broker.invalid:1883 cannot be reached" in found.trouble


def test_a_port_where_nobody_listens_fails_at_tcp() -> None:
    found = reached(broker=f"mqtt://127.0.0.1:{free_port()}")
    assert found.failed == "TCP"
    assert found.trouble.endswith("cannot be reached (connection refused)")


def test_somebody_who_never_answers_fails_at_connack() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = reached(limit_s=0.5, broker=f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
    assert found.failed == "CONNACK"
    assert found.trouble.endswith("does not answer within 0.5 s")


def test_tls_that_holds_tells_how_long_the_certificate_does(serve: Serve, pki: Pki) -> None:
    broker = serve(tls_listener(pki.issue("localhost", to_day=50)))
    url = f"mqtts://localhost:{broker.port}"
    found = reached(broker=url, tls={"ca_file": str(pki.ca_file())})
    assert (found.failed, found.protocol) == ("", "5")
    assert list(found.took_ms) == ["DNS", "TCP", "TLS", "CONNACK"]
    assert found.tls_version == "TLSv1.3"
    assert found.certificate is not None


def test_a_broker_of_another_ca_fails_at_tls(serve: Serve, pki: Pki) -> None:
    broker = serve(tls_listener(pki.issue("localhost")))
    tls = {"ca_file": str(pki.ca_file("other"))}
    found = reached(broker=f"mqtts://localhost:{broker.port}", tls=tls)
    assert found.failed == "TLS"
    assert "comes from no CA that we trust" in found.trouble


def test_a_broker_without_tls_fails_at_tls(serve: Serve, pki: Pki) -> None:
    tls = {"ca_file": str(pki.ca_file())}
    found = reached(broker=f"mqtts://localhost:{serve().port}", tls=tls)
    assert found.failed == "TLS"
    assert "does not answer with TLS" in found.trouble


def test_a_wrong_password_is_told_with_its_cure_and_stands_nowhere(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "nobody").touch(mode=0o600)
    broker = serve(f"user root\nallow_anonymous false\npassword_file {tmp_path / 'nobody'}")
    secret = tmp_path / "secret"
    secret.write_text("hunter2hunter2\n")
    secret.chmod(0o600)
    config = tmp_path / "device.yaml"
    config.write_text(
        f"mqtt: {{broker: '{broker.url}', username: porch, password_file: {secret}}}\n"
        f"pipelines:\n  a:\n    source: {{type: synthetic}}\n"
        f"    model: {{path: {ROOT}/models/digits/digits.tflite}}\n"
    )
    told = document(config)
    (refused,) = of(told, "broker")
    assert (refused["level"], refused["facts"]["failed"]) == ("problem", "CONNACK")
    assert "a wrong user name or password" in refused["says"]
    assert "mqtt.username" in refused["cure"]
    assert "hunter2" not in json.dumps(told)


def test_a_certificate_near_its_end_is_a_warning(serve: Serve, pki: Pki, tmp_path: Path) -> None:
    broker = serve(tls_listener(pki.issue("localhost", to_day=3.5)))
    config = tmp_path / "device.yaml"
    config.write_text(
        f"mqtt:\n  broker: mqtts://localhost:{broker.port}\n  tls: {{ca_file: {pki.ca_file()}}}\n"
        f"pipelines:\n  a:\n    source: {{type: synthetic}}\n"
        f"    model: {{path: {ROOT}/models/digits/digits.tflite}}\n"
    )
    reached_it, ending = of(document(config), "broker")
    assert reached_it["level"] == "ok"
    assert (ending["level"], ending["facts"]["days_left"]) == ("warning", 3)
    assert "in 3 days" in ending["says"]


# Cameras, through their ioctls


def test_a_camera_is_asked_for_its_name_formats_sizes_and_rates(
    camera_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = tmp_path / "dev"
    (dev / "v4l/by-id").mkdir(parents=True)
    by_id = dev / "v4l/by-id/usb-Emulated-video-index0"
    by_id.symlink_to("../../video0")
    camera = EmulatedCamera(camera_library, dev)
    camera.plug_in([np.zeros((480, 640, 3), np.uint8)], fourcc="YUYV", fps=15)
    for name, value in camera.environ.items():
        monkeypatch.setenv(name, value)
    (found,) = find_cameras(Patient(tmp_path))
    assert (found.kind, found.name, found.driver) == ("v4l2", "Emulated camera", "emulated")
    assert found.formats == (Format("YUYV", (Size(640, 480, (15.0,)),)),)
    assert (found.node, found.path) == (camera.node, by_id)
