"""What commands have changed outlives the daemon, until the YAML says otherwise."""

from pathlib import Path
from typing import Any

import pytest

from edge.config.pipeline import Pipeline
from edge.supervisor.steering import Steering, value_of


def pipeline(deadline_ms: float = 100, **decode: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "source": {"type": "synthetic"},
            "model": {"path": "a.tflite"},
            "deadline_ms": deadline_ms,
            "decode": {"type": "classification", **decode},
        }
    )


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"STATE_DIRECTORY": str(tmp_path / "state")}


def only_file(environ: dict[str, str]) -> Path:
    (path,) = Path(environ["STATE_DIRECTORY"]).iterdir()
    return path


def test_without_a_file_all_is_as_the_yaml_says(environ: dict[str, str]) -> None:
    steering = Steering("dev", environ)
    assert steering.trouble == ""
    assert steering.applied("cam", pipeline()) == pipeline()
    assert not steering.of("cam").paused


def test_what_was_set_is_there_after_a_restart(environ: dict[str, str]) -> None:
    steering = Steering("dev", environ)
    steering.pause("cam", paused=True)
    steering.override("cam", pipeline(), {"threshold": 0.5, "deadline_ms": 20})
    assert steering.write() == ""
    again = Steering("dev", environ)
    assert again.of("cam").paused
    assert again.applied("cam", pipeline()) == pipeline(20, threshold=0.5)
    assert again.overrides("cam", pipeline()) == {"threshold": 0.5, "deadline_ms": 20}
    assert Steering("another", environ).applied("cam", pipeline()) == pipeline()


def test_the_yaml_is_heard_again_once_it_says_something_else(environ: dict[str, str]) -> None:
    steering = Steering("dev", environ)
    steering.pause("cam", paused=True)
    steering.override("cam", pipeline(100), {"threshold": 0.5, "deadline_ms": 20})
    edited = pipeline(200)
    assert steering.applied("cam", edited) == pipeline(200, threshold=0.5)
    assert steering.follow({"cam": edited})
    assert not steering.follow({"cam": edited})
    assert steering.applied("cam", pipeline(100)) == pipeline(100, threshold=0.5)
    assert steering.of("cam").paused


def test_a_pipeline_that_is_no_longer_there_is_forgotten(environ: dict[str, str]) -> None:
    steering = Steering("dev", environ)
    steering.pause("cam", paused=True)
    assert steering.follow({"other": pipeline()})
    assert not steering.of("cam").paused


def test_the_value_of_the_yaml_is_no_override(environ: dict[str, str]) -> None:
    steering = Steering("dev", environ)
    steering.override("cam", pipeline(), {"deadline_ms": 100})
    assert steering.overrides("cam", pipeline()) == {}


def test_a_decoder_without_a_threshold_gets_none(environ: dict[str, str]) -> None:
    raw = pipeline().model_copy(
        update={
            "decode": Pipeline.model_validate(
                {
                    "source": {"type": "synthetic"},
                    "model": {"path": "a.tflite"},
                    "decode": {"type": "raw"},
                }
            ).decode
        }
    )
    steering = Steering("dev", environ)
    steering.override("cam", pipeline(), {"threshold": 0.5})
    assert value_of(raw, "threshold") is None
    assert steering.applied("cam", raw) == raw


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 300,
        b'{"version": 1, "pipelines": {"cam": {"paused": "yes"}}}',
        b'{"version": 2, "pipelines": {}}',
        b'{"version": 1, "pipelines": {"cam": {"overrides": {"path": {"value": 1}}}}}',
        b'{"version":1,"pipelines":{"a":{"overrides":{"threshold":{"value":NaN,"instead_of":0}}}}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_set_aside_and_told(environ: dict[str, str], content: bytes) -> None:
    steering = Steering("dev", environ)
    steering.pause("cam", paused=True)
    assert steering.write() == ""
    path = only_file(environ)
    path.write_bytes(content)
    again = Steering("dev", environ)
    assert not again.of("cam").paused
    assert "was damaged" in again.trouble
    aside = only_file(environ)
    assert aside.name == f"{path.name}.set-aside"
    assert aside.read_bytes() == content
    assert again.write() == ""


def test_a_disk_that_refuses_is_told_and_the_old_file_stays(environ: dict[str, str]) -> None:
    folder = Path(environ["STATE_DIRECTORY"])
    folder.write_text("in the way")
    steering = Steering("dev", environ)
    steering.pause("cam", paused=True)
    assert str(folder) in steering.write()
    assert steering.of("cam").paused


def test_without_a_state_directory_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.supervisor.steering.state_directory", lambda _environ: None)
    steering = Steering("dev")
    assert "STATE_DIRECTORY" in steering.write()
