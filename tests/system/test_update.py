"""A model over the air, in the service as it is hardened: power cuts, crash loops, upgrades."""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import publish
from parties import free_port
from releases import DIGITS, Publisher, other_build

from system.service import EDGE, HOME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parties import Listener

    from system.service import Service

OURS = hashlib.sha256((DIGITS / "digits.tflite").read_bytes()).hexdigest()
THEIRS = hashlib.sha256(other_build()).hexdigest()
FOLDER = "/srv/digits-1.1"
STORE = "/var/lib/edge-runtime/updates-*"
CONFIG = "/etc/edge-runtime/device.yaml"
QUICK = {"frames": 30, "share": 1.0, "probation_s": 0.3, "max_latency_ratio": 100.0}
"""A canary that says nothing of this machine's speed."""
AT_ONCE = {**QUICK, "frames": 0, "max_missed": 1.0}
GOLDEN = {"digits.golden.npz": (DIGITS / "digits.golden.npz").read_bytes()}


class Device:
    """A service that takes models over the air, and who publishes, commands and listens."""

    def __init__(self, service: Service, publisher: Publisher, listener: Listener) -> None:
        self.service = service
        self.container = service.container
        self.publisher = publisher
        self.listener = listener

    def deploy(self, *words: str, **canary: Any) -> str:
        """Run `edge models deploy` in the container; return what it prints."""
        told = [f"--canary {name}={json.dumps(value)}" for name, value in canary.items()]
        where = f"--device porch-pi --pipeline digits --broker mqtt://127.0.0.1:{self.service.port}"
        return self.container.run(" ".join([f"{EDGE} models deploy", *words, where, *told]))

    def begin(self, **canary: Any) -> None:
        """Publish another build of the digits and have it fetched."""
        self.deploy(self.publisher.publish("digits", other_build(), files=GOLDEN), **canary)

    def promote(self) -> None:
        """Have the model in the shadow serve."""
        request = json.dumps({"id": "1", "pipeline": "digits"})
        topic = "edge/porch-pi/command/promote-model"
        publish.single(topic, request, qos=1, hostname="127.0.0.1", port=self.service.port)

    def wait_for(self, event: str) -> Any:
        """Wait for an event that was not forgotten; return it."""
        return self.listener.wait_for_event(event)

    def forget(self) -> None:
        """Forget all that was heard."""
        self.listener.catch_up()
        self.listener.heard.clear()

    def has_result_of(self, digest: str) -> None:
        """Wait for a result from now on: this model gives it."""
        self.forget()
        result = self.listener.wait_for("/digits/predictions")
        assert result["model_digest"] == digest, result

    @property
    def answered_with(self) -> list[str]:
        """Which models have answered since we forgot, each once for every stretch of frames."""
        results = self.listener.of("/digits/predictions")
        return [digest for digest, _ in groupby(each["model_digest"] for each in results)]

    def cut_power(self) -> None:
        """Cut the power, and boot again."""
        self.container.pull_the_plug()
        self.boot()

    def boot(self) -> None:
        """Boot what has no power; forget what was heard before."""
        self.forget()
        self.container.start()

    def kill_worker(self) -> None:
        """Kill the worker as the kernel does for want of memory, and see it replaced."""
        self.forget()
        self.container.run(f"kill -9 {self.service.worker('digits')}")
        self.wait_for("worker_died")
        self.listener.wait_for("/digits/predictions")

    @property
    def models(self) -> list[str]:
        """The folders of the models that are kept."""
        return self.container.run(f"ls {STORE}/models", status=None).split()

    def of_doctor(self) -> list[dict[str, Any]]:
        """Return what `edge doctor` finds of updates."""
        told = json.loads(self.container.run(f"{EDGE} doctor --json {CONFIG}", status=None))
        return [each for each in told["findings"] if each["check"] == "updates"]


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    with Publisher(tmp_path_factory.mktemp("published")) as running:
        yield running


@pytest.fixture
def serve() -> str:
    """Return where a folder is served from inside the container."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def device(
    service: Service, publisher: Publisher, listener: Listener, serve: str
) -> Iterator[Device]:
    key = f"{HOME}/release.pub"
    service.container.write(key, publisher.key.public.file, mode=0o600)
    trust = (
        f"keys: [release.pub], fetch_from: ['{publisher.url}', 'http://{serve}/', 'file:///srv/']"
    )
    more = f"commands: {{allow: [update-model, promote-model]}}\nupdates: {{{trust}}}\n"
    service.install(service.yaml(more=more, fps=60, pipelines=("digits",)))
    listener.wait_for("/digits/predictions")
    publisher.held.set()
    yield Device(service, publisher, listener)
    service.run("stop")
    service.container.run(f"rm -r {STORE}")


def test_a_signed_model_that_is_served_on_the_network_becomes_good(
    device: Device, serve: str
) -> None:
    device.publisher.publish("digits", other_build(), files=GOLDEN)
    device.container.copy_in(device.publisher.root / "digits", FOLDER)
    said = device.deploy(FOLDER, f"--serve {serve}", "--follow", **QUICK)
    assert "good         digits 1.1: " in said
    device.has_result_of(THEIRS)
    assert len(device.models) == 1
    status = f"{EDGE} service status"
    device.container.wait_for(status, lambda text: "digits running with digits 1.1 (" in text)
    trusted, serving = device.of_doctor()
    assert (trusted["level"], serving["level"]) == ("ok", "ok")
    assert serving["says"] == "digits: runs digits 1.1"


def test_one_from_a_stick_outlives_uninstalling_and_an_upgrade(
    device: Device, built_wheel: Path
) -> None:
    device.publisher.publish("digits", other_build(), files=GOLDEN)
    device.container.copy_in(device.publisher.root / "digits", FOLDER)
    device.deploy(f"file://{FOLDER}/card.yaml", **QUICK)
    device.wait_for("update_good")
    assert "nothing has changed" in device.container.run(f"{EDGE} service install {CONFIG}")
    device.container.run(f"{EDGE} service uninstall")
    device.container.run(f"{EDGE} service install {CONFIG}")
    device.has_result_of(THEIRS)
    device.container.pip(f"install --quiet --no-deps --force-reinstall /root/{built_wheel.name}")
    device.service.run("restart")
    device.has_result_of(THEIRS)
    assert device.of_doctor()[1]["says"] == "digits: runs digits 1.1"


def test_a_power_cut_while_it_is_fetched(device: Device) -> None:
    device.publisher.held.clear()
    device.begin(**QUICK)
    device.wait_for("update_fetching")
    device.container.pull_the_plug()
    device.publisher.close()  # after the boot there is no network yet
    device.boot()
    assert device.wait_for("update_resumed")["details"]["step"] == "fetching"
    device.wait_for("update_fetching")
    journal = "journalctl -b --output=cat EDGE_EVENT=update_waits"
    assert "no server listens there" in device.container.wait_for(journal, bool)
    device.has_result_of(OURS)
    device.publisher.open()
    device.wait_for("update_good")
    device.has_result_of(THEIRS)
    assert "digits 1.1" in device.container.run("journalctl -b --output=cat EDGE_EVENT=update_good")
    assert len(device.models) == 1


def test_a_power_cut_with_it_in_the_shadow(device: Device) -> None:
    device.begin(**QUICK, promote="command")
    device.wait_for("update_ready")
    device.cut_power()
    assert device.wait_for("update_resumed")["details"]["step"] == "shadow"
    device.wait_for("update_ready")
    assert device.answered_with == [OURS]
    device.promote()
    device.wait_for("update_good")
    assert device.answered_with == [OURS, THEIRS]
    device.has_result_of(THEIRS)
    assert len(device.models) == 1


def test_a_power_cut_with_it_on_probation(device: Device) -> None:
    device.begin(**AT_ONCE | {"probation_s": 5})
    device.wait_for("update_promoted")
    device.cut_power()
    device.has_result_of(THEIRS)
    shown = device.service.shown("StatusText")
    device.wait_for("update_good")
    assert device.answered_with == [THEIRS]
    assert " with digits 1.1" in shown
    device.has_result_of(THEIRS)


def test_a_crash_loop_across_restarts_and_a_reboot_ends_with_the_last_good_model(
    device: Device,
) -> None:
    device.begin(**AT_ONCE | {"probation_s": 600})
    device.wait_for("update_promoted")
    device.has_result_of(THEIRS)
    device.kill_worker()
    device.service.run("restart")  # in order, which counts for nothing
    device.has_result_of(THEIRS)
    device.kill_worker()
    device.has_result_of(THEIRS)
    device.container.reboot()
    device.has_result_of(THEIRS)
    device.kill_worker()
    back = device.wait_for("update_rolled_back")
    assert "a crash loop: 3 workers with it" in back["message"]
    device.has_result_of(OURS)
    device.service.run("restart")
    device.has_result_of(OURS)
    assert device.models == []
    (finding,) = device.of_doctor()[1:]
    assert "digits: runs the YAML's model; digits 1.1 was rolled back: a crash" in finding["says"]
