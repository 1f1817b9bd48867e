"""`edge tune` as its user calls it: it measures, writes its choice, and the daemon takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import edge

if TYPE_CHECKING:
    from collections.abc import Callable

    from parties import Daemon, Listener, Mosquitto

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
SHORT = ("--seconds", "0.7", "--turns", "1")
LIVE = "{type: synthetic, width: 64, height: 48, fps: 100}"


def pipeline(
    name: str, *, source: str = LIVE, model: Path = DIGITS, more: str = "", deadline: float = 500
) -> str:
    """Return the YAML of one pipeline."""
    return (
        f"  {name}:\n    source: {source}\n    model: {{path: {model}{more}}}\n"
        f"    deadline_ms: {deadline}\n"
    )


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Write a device YAML of these pipelines."""

    def write(*pipelines: str, head: str = "device: dev\n") -> Path:
        path = tmp_path / "device.yaml"
        path.write_text(f"{head}pipelines:\n{''.join(pipelines)}", encoding="utf-8")
        return path

    return write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of this test alone."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_choice_is_measured_written_down_and_used(
    config: Callable[..., Path],
    home: Path,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
) -> None:
    head = f"device: dev\nmqtt: {{broker: '{broker.url}'}}\n"
    text = config(
        pipeline("one", more=", engine: litert"), pipeline("two", more=", threads: 1"), head=head
    )
    done = edge("tune", text, *SHORT)
    assert done.returncode == 0, done.stderr
    assert " candidates, 1 turns of 0.7 s each: about " in done.stderr
    assert "pipeline one, deadline 500 ms" in done.stdout
    file = home / "dev.tuning.json"
    assert done.stdout.splitlines()[-1] == f"written to {file}"

    tuning = json.loads(file.read_text(encoding="utf-8"))
    assert tuning["pipelines"].keys() == {"one", "two"}
    tuned = tuning["pipelines"]["one"]
    assert tuned["engine"] == "litert"
    (first, *_) = tuned["evidence"]["candidates"]
    assert first["answered"] > 0
    assert first["latency_ms"]["p50"] > 0
    assert tuned["evidence"]["beside"].keys() == {"two"}
    day = tuning["at"].partition("T")[0]
    reason = f"tuned {day}: {tuned['because']}"

    check = edge("check", text)
    assert check.returncode == 0
    assert f"({reason})" in check.stdout

    daemon = start(text.read_text(encoding="utf-8"), "--max-frames", "5")
    event = listener.wait_for("one/events", lambda e: e["event"] == "model_loaded")
    assert event["message"].endswith(f"({reason})")
    info = listener.wait_for("/info", lambda i: i["pipelines"]["one"]["engine"] is not None)
    assert info["pipelines"]["one"]["engine"]["reason"] == reason
    assert info["pipelines"]["one"]["engine"]["threads"] == tuned["threads"]
    assert daemon.wait() == 0

    text.write_text(text.read_text(encoding="utf-8").replace("dev\n", "other\n"), encoding="utf-8")
    assert "tuned" not in edge("check", text).stdout, "another device has no tuning"


def test_a_changed_model_voids_the_choice_and_check_says_so(
    config: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(DIGITS.read_bytes())
    text = config(pipeline("one", model=model, more=", engine: litert"))
    done = edge("tune", text, *SHORT, "--json", "--state-dir", home)
    assert done.returncode == 0, done.stderr
    written = json.loads((home / "dev.tuning.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == written
    assert "(tuned " in edge("check", text).stdout
    model.write_bytes(DIGITS.read_bytes() + b"\0" * 16)
    said = edge("check", text).stdout
    assert "is void: the model is another one)" in said
    (home / "dev.tuning.json").write_text("{", encoding="utf-8")
    said = edge("check", text).stdout
    assert "asked for by name; " in said
    assert "is damaged or no tuning" in said


def test_a_pulled_source_is_measured_as_fast_as_it_goes_and_begins_again_at_its_end(
    config: Callable[..., Path], home: Path
) -> None:
    source = f"{{type: images, path: {ROOT}/models/digits/held-out.png}}"
    done = edge("tune", config(pipeline("one", source=source, more=", threads: 1")), *SHORT)
    assert done.returncode == 0, done.stderr
    tuned = json.loads((home / "dev.tuning.json").read_text(encoding="utf-8"))["pipelines"]["one"]
    assert tuned["evidence"]["source"] == "images, as fast as possible"
    assert all(each["answered"] > 1 for each in tuned["evidence"]["candidates"])


def test_a_camera_that_is_not_there_is_told_or_replaced(
    config: Callable[..., Path], home: Path
) -> None:
    camera = "{type: camera, device: /dev/absent, width: 64, height: 48, fps: 60}"
    text = config(pipeline("one", source=camera, more=", engine: litert, threads: auto"))
    done = edge("tune", text, *SHORT)
    assert done.returncode == 1
    assert done.stderr.startswith("edge tune: pipeline one: /dev/absent: there is no such camera")
    assert "--synthetic" in done.stderr
    assert not home.exists()
    done = edge("tune", text, *SHORT, "--synthetic")
    assert done.returncode == 0, done.stderr
    assert "measured with synthetic 64x48 at 60 fps instead" in done.stderr
    tuned = json.loads((home / "dev.tuning.json").read_text(encoding="utf-8"))["pipelines"]["one"]
    assert tuned["evidence"]["in_place_of"] == "camera 64x48 at 60 fps"


def test_an_engine_that_cannot_be_loaded_is_told_and_left_out(
    config: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    # It is found before the real one, where there is one.
    site = tmp_path / "site"
    (site / "tflite_runtime").mkdir(parents=True)
    (site / "tflite_runtime" / "__init__.py").touch()
    (site / "tflite_runtime" / "interpreter.py").write_text("raise ImportError('too old')\n")
    (site / "tflite_runtime-9.9.dist-info").mkdir()
    (site / "tflite_runtime-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 9.9\n"
    )
    text = config(pipeline("one", more=", threads: 1"))
    done = edge("tune", text, *SHORT, environ={"PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stderr
    assert "one: tflite-runtime, 1 thread is left out: the engine tflite-runtime" in done.stderr
    assert "too old" in done.stderr
    assert "tflite-runtime        1       -" in done.stdout
    tuned = json.loads((home / "dev.tuning.json").read_text(encoding="utf-8"))["pipelines"]["one"]
    assert tuned["engine"] == "litert"
    assert tuned["engines"]["tflite-runtime"] == "9.9"
    assert "no other candidate" in tuned["because"]


def test_none_holds_the_deadline_is_said_and_is_no_failure(
    config: Callable[..., Path], home: Path
) -> None:
    text = config(pipeline("one", more=", engine: litert", deadline=0.001))
    done = edge("tune", text, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "none holds the deadline of 0.001 ms" in done.stdout
    tuned = json.loads((home / "dev.tuning.json").read_text(encoding="utf-8"))["pipelines"]["one"]
    assert tuned["holds_deadline"] is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seconds", "0"], "--seconds must be more than 0"),
        (["--turns", "-1"], "--turns must be more than 0"),
        (["--state-dir", "/dev/null/x"], "cannot be written: Not a directory"),
    ],
)
def test_wrong_options_are_one_clear_line(
    arguments: list[str], told: str, config: Callable[..., Path]
) -> None:
    text = config(pipeline("one", more=", engine: litert, threads: auto"))
    done = edge("tune", text, *(SHORT if arguments[0] == "--state-dir" else ()), *arguments)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]


def test_a_broken_model_and_a_fixed_choice_are_told(config: Callable[..., Path]) -> None:
    text = config(pipeline("one", more=", engine: litert, threads: 1"))
    done = edge("tune", text)
    assert done.returncode == 2
    assert "there is nothing to choose" in done.stderr
    done = edge("tune", config(pipeline("one", model=ROOT / "README.md")), *SHORT)
    assert done.returncode == 1
    assert "README.md" in done.stderr
    assert done.stderr.count("\n") == 1
