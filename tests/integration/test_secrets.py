"""A whole life of the daemon, and no secret of it anywhere; renewed certificates are taken."""

import gzip
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parties import PATIENCE_S, Daemon, Listener, Mosquitto, free_port, wait_for_port
from pki import Pki, tls_listener

from edge.mqtt.access import Access
from edge.mqtt.client import new_client
from edge.supervisor.process import child_environment

Start = Callable[..., Daemon]
PASSWORD, WRONG = "right-hunter2", "wrong-hunter2"
KEY_PASSWORD, CAMERA, OTHER = "key-hunter2", "camera-hunter2", "other-hunter2"
SECRET = b"hunter2"


class Setting:
    """A broker that speaks TLS and lets in whom it knows, and a device with many secrets."""

    def __init__(self, mosquitto: str, folder: Path, digits: str) -> None:
        self._digits = digits
        self.pki = Pki(folder)
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "edge", PASSWORD], check=True)
        passwords.chmod(0o600)
        self.served = self.pki.issue("localhost")
        demands = tls_listener(self.served, clients=self.pki.ca_file())
        self.plain_port = free_port()
        plain = f"listener {self.plain_port} 127.0.0.1"
        self.broker = Mosquitto(mosquitto, folder, f"{demands}\npassword_file {passwords}\n{plain}")
        self.ours = self.pki.issue("me")
        self.key = folder / "locked.key"
        self.lock_key()
        self.password = folder / "password"
        self.password.write_text(PASSWORD)
        self.password.chmod(0o600)

    def lock_key(self) -> None:
        """Encrypt our certificate's key."""
        command = f"openssl pkcs8 -topk8 -in {self.ours.key} -out {self.key}"
        subprocess.run([*command.split(), "-passout", f"pass:{KEY_PASSWORD}"], check=True)

    def text(self, **changes: str) -> str:
        """Return the YAML of the device."""
        named = {
            "password_file": str(self.password),
            "certificate_file": str(self.ours.certificate),
            "interval_s": "1",
        } | changes
        return f"""
device: dev
mqtt:
  broker: mqtts://localhost:{self.broker.port}
  username: edge
  password_file: {named["password_file"]}
  tls:
    ca_file: {self.pki.ca_file()}
    certificate_file: {named["certificate_file"]}
    key_file: {self.key}
    key_password: ${{EDGE_KEY_PASSWORD}}
telemetry: {{interval_s: {named["interval_s"]}}}
pipelines:
  one: {self._digits}
  far: {{source: {{type: video, path: "rtsp://me:${{EDGE_CAMERA}}@127.0.0.1:1/x"}},
        deadline_ms: 100, model: {{path: {Path(__file__).parents[2]}/models/digits/digits.tflite}}}}
"""


@pytest.fixture
def setting(
    mosquitto: str, tmp_path: Path, digits_30fps: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Setting]:
    monkeypatch.setenv("EDGE_KEY_PASSWORD", KEY_PASSWORD)
    monkeypatch.setenv("EDGE_CAMERA", CAMERA)
    monkeypatch.setenv("EDGE_MQTT_PASSWORD", OTHER)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", f"/nowhere/{OTHER}")
    made = Setting(mosquitto, tmp_path, digits_30fps)
    with made.broker:
        wait_for_port(made.plain_port)
        yield made


class Everything:
    """Hears all topics there are, as bytes."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        self._client = new_client(Access("127.0.0.1", port))
        self._client.on_message = self._take
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_connect = lambda client, *_: client.subscribe([("#", 1), ("$SYS/#", 1)])
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def _take(self, _client: Any, _userdata: Any, message: Any) -> None:
        self.heard += message.topic.encode() + b"\n" + message.payload + b"\n"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def failed_for(field: str, event: Any) -> bool:
    return event["event"] == "reload_failed" and field in event["message"]


def content(file: Path) -> bytes:
    if not file.is_file():
        return b""
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def wait_until(fits: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not fits():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_secret_is_in_any_log_topic_trace_or_process(
    setting: Setting, start: Start, tmp_path: Path
) -> None:
    everything = Everything(setting.plain_port)
    with Listener(setting.plain_port) as listener:
        daemon = start(setting.text())
        listener.wait_for_many("one/predictions", 10)
        listener.wait_for_event("source_lost")
        wait_until(lambda: len(daemon.workers()) == 2)
        pids = [daemon.process.pid, *daemon.workers()]
        commands = b"".join(proc(pid, "cmdline") for pid in pids)
        environments = b"".join(proc(pid, "environ") for pid in daemon.workers())
        assert SECRET in proc(daemon.process.pid, "environ")  # it was there to be handed on

        os.kill(daemon.workers()[0], signal.SIGKILL)
        listener.wait_for_event("worker_died")
        daemon.send(signal.SIGUSR1)
        traced = listener.wait_for_event("trace_written")

        setting.password.write_text(WRONG)
        daemon.send(signal.SIGHUP)
        wait_until(lambda: "a wrong user name or password" in daemon.log)
        setting.password.write_text(PASSWORD)
        daemon.send(signal.SIGHUP)
        wait_until(lambda: daemon.log.count("broker_connected") == 2)

        for field, value in (("password_file", OTHER), ("certificate_file", setting.password)):
            daemon.config.write_text(setting.text(**{field: str(value)}))
            daemon.send(signal.SIGHUP)
            listener.wait_for("/events", partial(failed_for, field))
        daemon.config.write_text(setting.text(interval_s="0.5"))
        daemon.send(signal.SIGHUP)
        listener.wait_for_event("reloaded", lambda e: e["details"]["kept"] == ["one", "far"])

        setting.broker.kill()
        wait_until(lambda: "broker_lost" in daemon.log)
        folders = (tmp_path / "state", tmp_path / "run")
        kept = b"".join(content(file) for folder in folders for file in folder.rglob("*"))
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    everything.close()
    trace = content(Path(traced["details"]["file"]))
    assert b"traceEvents" in trace
    for place in (daemon.log.encode(), everything.heard, commands, environments, kept, trace):
        assert place
        assert SECRET not in place
        assert b"PRIVATE KEY" not in place


def test_a_renewed_certificate_is_taken_at_a_reload_though_the_yaml_is_the_same(
    setting: Setting, start: Start
) -> None:
    soon = setting.pki.issue("me", to_day=3)
    later = setting.ours
    kept = Path(str(later.certificate) + ".new")
    shutil.copy(later.certificate, kept)
    shutil.copy(soon.certificate, later.certificate)
    key = later.key.read_bytes()
    later.key.write_bytes(soon.key.read_bytes())
    setting.lock_key()
    with Listener(setting.plain_port) as listener:
        daemon = start(setting.text())
        told = listener.wait_for_event("certificate_expiring")
        assert told["message"].startswith("our certificate (`mqtt.tls.certificate_file`) expires")
        assert told["pipeline"] is None
        daemon.send(signal.SIGHUP)
        listener.wait_for_event("reloaded")
        assert daemon.log.count("broker_connected") == 1  # nothing new to take
        workers = daemon.workers()

        kept.replace(later.certificate)
        daemon.send(signal.SIGHUP)  # of a pair, half is renewed
        failed = listener.wait_for_event("reload_failed")
        assert "is not the key of" in failed["message"]
        later.key.write_bytes(key)
        setting.lock_key()
        daemon.send(signal.SIGHUP)
        wait_until(lambda: daemon.log.count("broker_connected") == 2)
        listener.wait_for_many("/events", 2, lambda e: e["event"] == "reloaded")
        listener.wait_for_many("one/metrics", 3)
        assert daemon.workers() == workers
        assert daemon.log.count("certificate_expiring") == 1
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_worker_gets_what_it_needs_and_nothing_else() -> None:
    needed = {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "PYTHONPATH": "x",
        "LD_PRELOAD": "y",
        "OPENCV_FFMPEG_CAPTURE_OPTIONS": "z",
        "STATE_DIRECTORY": "/var",
        "EDGETPU_LOG": "1",
    }
    kept_back = {
        "EDGE_MQTT_PASSWORD": OTHER,
        "CREDENTIALS_DIRECTORY": "/run",
        "NOTIFY_SOCKET": "@x",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "AWS_SECRET_ACCESS_KEY": OTHER,
        "PATHS": OTHER,
        "http_proxy_password": OTHER,
    }
    given = child_environment(needed | kept_back)
    assert needed.items() <= given.items()
    assert not kept_back.keys() & given.keys()
    more = child_environment({"EDGE_WORKER_ENVIRONMENT": "VENDOR_SDK,B", "VENDOR_SDK": "1"})
    assert more["VENDOR_SDK"] == "1"
