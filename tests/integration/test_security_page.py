"""The README's page on security, followed line by line: its certificates, its broker, its YAML."""

import re
import shlex
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from paho.mqtt.client import MQTTMessage
from parties import PATIENCE_S, Mosquitto

from edge.config.load import broker_access
from edge.config.mqtt import Mqtt
from edge.mqtt.access import Access
from edge.mqtt.client import new_client

PAGE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PAGE = PAGE.split("\n## Security\n")[1].split("\n## ")[0]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == kind]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the certificates, and with a password for each user."""
    for line in re.findall(r"^\$ (openssl .*)$", PAGE, re.MULTILINE):
        command = line.replace("broker.home", "localhost")
        command = command.replace("-keyout ca.key", "-passout pass:x -keyout ca.key")
        command = command.replace("-CAkey ca.key", "-CAkey ca.key -passin pass:x")
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    for user in ("porch-pi", "viewer"):
        (tmp_path / user).write_text(f"{user}'s")
        create = [] if (tmp_path / "passwords").exists() else ["-c"]
        command = ["mosquitto_passwd", *create, "-b", "passwords", user, f"{user}'s"]
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "acl").write_text(blocks("")[1])
    for file in ("passwords", "acl"):
        (tmp_path / file).chmod(0o600)
    return tmp_path


def mosquitto_as_told(path: str, place: Path, *, certificates: bool) -> Mosquitto:
    passwords, _, instead = blocks("")
    listener, *options = passwords.splitlines()
    assert listener == "listener 8883"
    if certificates:
        options = [each for each in options if not each.startswith("password_file")]
        options += instead.splitlines()
    text = "\n".join(["user root", *options])
    return Mosquitto(path, place, re.sub(r"/etc/mosquitto/(certs/)?", f"{place}/", text))


def access(place: Path, broker: Mosquitto, *, page: int, user: str = "porch-pi") -> Access:
    text = blocks("yaml")[page].replace("broker.home", f"localhost:{broker.port}")
    text = text.replace("${CREDENTIALS_DIRECTORY}/mqtt", user).replace(
        "${CREDENTIALS_DIRECTORY}/key", "porch-pi.key"
    )
    options = yaml.safe_load(text)["mqtt"]
    if "username" in options:
        options["username"] = user
    return broker_access(Mqtt.model_validate(options, context={"folder": place}))


def hear(access: Access, *, publishing: Access, topics: list[str]) -> list[str]:
    """Return which of the topics one user hears when another publishes them all."""
    heard: list[str] = []
    done, subscribed = threading.Event(), threading.Event()
    listener, speaker = new_client(access), new_client(publishing)
    listener.on_connect = lambda client, *_: client.subscribe("edge/#", 1)
    listener.on_subscribe = lambda *_: subscribed.set()

    def take(_client: object, _userdata: object, message: MQTTMessage) -> None:
        heard.append(message.topic)
        if heard[-1] == topics[-1]:
            done.set()

    listener.on_message = take
    for client in (listener, speaker):
        client.connect(access.host, access.port)
        client.loop_start()
    assert subscribed.wait(PATIENCE_S)
    for topic in topics:
        speaker.publish(topic, b"x", qos=1).wait_for_publish(PATIENCE_S)
    assert done.wait(PATIENCE_S)
    for client in (listener, speaker):
        client.disconnect()
        client.loop_stop()
    return heard


def test_users_with_passwords_have_their_own_topics(mosquitto: str, place: Path) -> None:
    topics = ["edge/other-pi/events", "elsewhere", "edge/porch-pi/events"]
    with mosquitto_as_told(mosquitto, place, certificates=False) as broker:
        device = access(place, broker, page=0)
        viewer = access(place, broker, page=0, user="viewer")
        assert hear(viewer, publishing=device, topics=topics) == ["edge/porch-pi/events"]
        assert hear(device, publishing=device, topics=topics) == ["edge/porch-pi/events"]


def test_devices_with_certificates_have_their_own_topics(mosquitto: str, place: Path) -> None:
    with mosquitto_as_told(mosquitto, place, certificates=True) as broker:
        device = access(place, broker, page=1)
        assert device.username is None
        topics = ["edge/other-pi/events", "edge/porch-pi/events"]
        assert hear(device, publishing=device, topics=topics) == ["edge/porch-pi/events"]
