"""`edge init` as its user runs it: what it writes passes `edge check`, and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from commands import edge
from emulated_camera import EmulatedCamera
from hand_made_model import hand_made
from parties import Daemon, Listener, Mosquitto, free_port

from edge.doctor.draft import draft
from edge.doctor.model_facts import model_facts
from edge.doctor.patient import Patient
from edge.doctor.survey import look_around

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"


def init(*arguments: str | Path, cwd: Path) -> str:
    """Run `edge init` for an embedded broker, so that no network is asked; return what it says."""
    done = edge("init", "--broker", "embedded", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_it_writes_passes_edge_check_and_it_says_what_comes_next(tmp_path: Path) -> None:
    said = init("--device", "porch", cwd=tmp_path)
    assert "  edge run device.yaml\n" in said
    assert "passes `edge check`" in said
    checked = edge("check", "device.yaml", cwd=tmp_path)
    assert checked.returncode == 0
    assert checked.stdout.startswith("device.yaml: ok, device porch, broker embedded\n")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["device.yaml"]


def test_it_runs_as_it_was_written(tmp_path: Path) -> None:
    init(f"--broker=embedded:{free_port()}", cwd=tmp_path)
    done = edge("run", "device.yaml", "--max-frames", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "summary pipeline=main frames=3" in done.stderr


def test_it_never_writes_over_a_file_unless_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    refused = edge("init", file, "--broker", "embedded")
    assert (refused.returncode, file.read_text()) == (2, "mine")
    assert refused.stderr == f"edge init: {file}: is there already; --force writes over it\n"
    init(file, "--force", cwd=tmp_path)
    assert file.read_text().startswith("# Written by `edge init` ")


def test_a_broker_that_is_named_is_tried_and_written_whether_it_is_there_or_not(
    broker: Mosquitto, tmp_path: Path
) -> None:
    there = edge("init", "--broker", f"127.0.0.1:{broker.port}", cwd=tmp_path)
    assert f"broker:       mqtt://127.0.0.1:{broker.port}\n" in there.stdout
    broker.kill()
    away = edge("init", "--broker", broker.url, "away.yaml", cwd=tmp_path)
    assert "cannot be reached (connection refused)" in away.stdout
    assert edge("check", "away.yaml", cwd=tmp_path).returncode == 0


def test_a_broker_that_wants_a_name_is_told_and_no_secret_is_written(
    mosquitto: str, tmp_path: Path
) -> None:
    with Mosquitto(mosquitto, tmp_path, "allow_anonymous false") as broker:
        done = edge("init", "--broker", broker.url, "--device", "a", cwd=tmp_path)
    assert "it lets nobody in without a name" in done.stdout
    text = (tmp_path / "device.yaml").read_text()
    assert f"broker: {broker.url}" in text
    assert "# password_file: ${CREDENTIALS_DIRECTORY}/mqtt" in text
    assert edge("check", "device.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--model", "no.tflite"], 2, "no.tflite: there is no such model file"),
        (["--model", "text.tflite"], 1, "text.tflite: "),
        (["--model", "custom.tflite"], 1, "nothing was written, for it would not pass"),
        (["--device", "a/b"], 2, "--device: must be one level of a topic"),
        (["--broker", "http://here"], 2, "--broker: must be `mqtt://HOST[:PORT]`"),
        (["--broker", "a b"], 2, "--broker: "),
        (["nowhere/device.yaml"], 2, "nowhere: there is no such folder"),
    ],
)
def test_wrong_words_and_models_end_in_one_message_and_nothing_is_written(
    arguments: list[str], status: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "text.tflite").write_text("no model, and long enough to be looked into")
    (tmp_path / "custom.tflite").write_bytes(hand_made(custom="MyOwnOperator"))
    done = edge("init", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == []
    assert not list(tmp_path.glob(".edge-init-*"))


def test_models_of_others_with_their_labels(testdata: Path, tmp_path: Path) -> None:
    model = tmp_path / "mobilenet.tflite"
    model.symlink_to(testdata / "models/mobilenet_v1_0.25_128_quant.tflite")
    (tmp_path / "imagenet_labels.txt").symlink_to(testdata / "labels/imagenet_labels.txt")
    said = init("--model", model, cwd=tmp_path)
    assert "labels:       " in said
    text = (tmp_path / "device.yaml").read_text()
    assert "path: mobilenet.tflite" in text
    assert "labels: imagenet_labels.txt" in text


def test_a_camera_that_is_there_is_written_and_gives_predictions(
    camera_library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
) -> None:
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    camera = EmulatedCamera(camera_library, root / "dev")
    camera.plug_in([np.full((480, 640, 3), 200, np.uint8)], fourcc="YUYV", fps=15)
    for name, value in camera.environ.items():
        monkeypatch.setenv(name, value)
    survey = look_around(Patient(root), broker.url)
    text = draft(survey, model_facts(DIGITS), device="a", folder=tmp_path, of_the_demo=True)
    assert "fourcc: YUYV" in text
    daemon = start(text)
    predicted = listener.wait_for("main/predictions")
    assert predicted["source"] == "camera"
    assert daemon.process.poll() is None
