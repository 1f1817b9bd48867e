"""`edge models deploy`: a folder on this machine becomes the model of a running device."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
from commands import edge
from operators import Operator
from parties import device, free_port
from releases import DIGITS, model_folder, other_build, permuted

from edge.catalogue.secret_key import SecretKey
from edge.catalogue.signature import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parties import Daemon, Mosquitto

LABELS = {"labels.txt": (DIGITS / "labels.txt").read_bytes()}
CANARY = ("--canary", "frames=20", "--canary", "share=1.0", "--canary", "probation_s=0.2")


class Desk:
    """Where somebody signs and deploys: a key, an address, a device that trusts both."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.key = SecretKey.new()
        self.serve = f"127.0.0.1:{free_port()}"
        self.broker = broker.url

    def model(self, name: str, content: bytes, *, signed: bool = True) -> Path:
        folder = self.folder / name
        model_folder(folder, content, LABELS)
        if signed:
            text = sign((folder / "card.yaml").read_bytes(), self.key, comment=name)
            (folder / "card.yaml.minisig").write_text(text)
        return folder

    def deploy(self, model: Path | str, *more: str, to: str = "dev") -> tuple[int, list[str], str]:
        """Return exit status, the lines without their times, and what was said of an error."""
        where = ("--device", to, "--pipeline", "cam", "--broker", self.broker)
        done = edge("models", "deploy", model, *where, *more)
        lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in done.stdout.splitlines()]
        return done.returncode, lines, done.stderr


@pytest.fixture
def desk(tmp_path: Path, broker: Mosquitto) -> Desk:
    return Desk(tmp_path, broker)


@pytest.fixture
def operator(
    desk: Desk, broker: Mosquitto, start: Callable[..., Daemon], digits_30fps: str
) -> Iterator[Operator]:
    pipeline = digits_30fps.replace("_ms: 1000", "_ms: 5000")
    trust = f"keys: [{desk.key.public.text}], fetch_from: ['http://{desk.serve}/']"
    text = device(broker, f"  cam: {pipeline}\n")
    with Operator(broker.port) as operator:
        daemon = start(f"{text}commands: {{allow: [update-model]}}\nupdates: {{{trust}}}\n")
        operator.wait_for("edge/dev/cam/predictions")
        yield operator
        daemon.send(signal.SIGTERM)
        daemon.wait()


def test_a_folder_is_served_deployed_and_followed_until_it_is_good(
    desk: Desk, operator: Operator
) -> None:
    folder = desk.model("digits-1.1", other_build())
    key = desk.key.public.text
    status, lines, said = desk.deploy(
        folder, "--serve", desk.serve, "--key", key, "--follow", *CANARY
    )
    assert status == 0, (lines, said)
    url = f"http://{desk.serve}/digits/card.yaml"
    assert lines[:2] == [
        f"digits 1.1 is served at {url}",
        f"cam: {url} is fetched; events tell what becomes of it",
    ]
    steps = [line.split()[0] for line in lines[2:]]
    assert steps == ["fetching", "verified", "tried", "in_shadow", "promoted", "good"]
    again, lines, _ = desk.deploy(folder, "--serve", desk.serve, "--follow")
    assert (again, lines[-1].split()[0]) == (0, "good")
    names = [each["event"] for each in operator.of("edge/dev/cam/events")]
    assert names.count("update_promoted") == 1


def test_one_that_is_taken_back_is_a_failure(desk: Desk, operator: Operator) -> None:
    folder = desk.model("wrong", permuted())
    status, lines, _ = desk.deploy(folder, "--serve", desk.serve, "--follow", *CANARY)
    assert status == 1
    assert lines[-1].startswith("rolled_back  digits 1.1: the models say the same of ")
    assert operator.of("edge/dev/cam/events")[-1]["event"] != "update_promoted"


def test_without_following_it_stays_until_the_folder_is_fetched(
    desk: Desk, operator: Operator
) -> None:
    folder = desk.model("digits-1.1", other_build())
    status, lines, _ = desk.deploy(folder, "--serve", desk.serve)
    assert status == 0
    assert lines[-1].startswith("verified     digits 1.1 is here, signed with the key ")
    assert operator.heard


def test_what_cannot_be_deployed_is_told_before_any_device_is(
    desk: Desk, operator: Operator
) -> None:
    def refusal(*arguments: str | Path, to: str = "dev") -> tuple[int, str]:
        status, _, said = desk.deploy(*map(str, arguments), to=to)
        return status, said

    unsigned = desk.model("unsigned", other_build(), signed=False)
    folder = desk.model("signed", other_build())
    serve = ("--serve", desk.serve)
    assert "edge models sign" in refusal(unsigned, *serve)[1]
    stranger = SecretKey.new().public.text
    assert "is signed with the key" in refusal(folder, *serve, "--key", stranger)[1]
    status, said = refusal(folder)
    assert (status, "give --serve ADDRESS:PORT" in said) == (2, True)
    assert "--serve must be ADDRESS:PORT" in refusal(folder, "--serve", "here")[1]
    assert "must be the URL of a card.yaml" in refusal("https://example.com/")[1]
    assert "--canary must be NAME=VALUE" in refusal(folder, *serve, "--canary", "frames")[1]
    (folder / "digits.tflite").write_bytes(permuted())
    assert "has the sha256" in refusal(folder, *serve)[1]
    assert not operator.of("edge/dev/cam/events")[1:]
    elsewhere = "https://example.com/digits/card.yaml"
    status, said = refusal(elsewhere)
    assert status == 1
    assert "dev refuses: `card`: `https://example.com/" in said
    operator.publish("edge/away/status", b"offline", retain=True).wait_for_publish()
    assert "away is offline" in refusal(elsewhere, to="away")[1]
