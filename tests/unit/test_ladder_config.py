"""What a pipeline is on each rung, and what is said of a rung that cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge.config.ladder import pipeline_on_each_rung, rung_names
from edge.config.load import load
from edge.config.pipeline import Pipeline
from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = {"type": "camera", "width": 1280, "height": 720, "fps": 30}


def a_pipeline(*rungs: dict[str, Any], **options: Any) -> Pipeline:
    named = [{"name": f"rung-{number}", **rung} for number, rung in enumerate(rungs, 1)]
    source = {} if "sources" in options else {"source": CAMERA}
    return Pipeline.model_validate(
        {"model": {"path": "big.tflite"}, **source, **options, "ladder": {"rungs": named}}
    )


def test_each_rung_gives_something_up_in_addition_to_those_before() -> None:
    pipeline = a_pipeline(
        {"model": {"path": "small.tflite"}},
        {"width": 640, "height": 360},
        {"fps": 10, "cache": {"mode": "similar"}},
        {"every": 3},
    )
    assert rung_names(pipeline) == ["full", "rung-1", "rung-2", "rung-3", "rung-4"]
    rungs = pipeline_on_each_rung(pipeline)
    assert [rung.model.path.name for rung in rungs] == ["big.tflite"] + ["small.tflite"] * 4
    sources: list[Any] = [rung.source for rung in rungs]
    assert [(each.width, each.height) for each in sources] == [(1280, 720)] * 2 + [(640, 360)] * 3
    assert [each.fps for each in sources] == [30, 30, 30, 10, 10]
    assert [rung.cache.mode for rung in rungs] == ["off"] * 3 + ["similar"] * 2
    assert [rung.every for rung in rungs] == [1, 1, 1, 1, 3]
    for rung in rungs:
        assert rung.ladder is None
        assert rung.deadline_ms == pipeline.deadline_ms
        assert Pipeline.model_validate_json(rung.model_dump_json()) == rung


def test_what_a_rung_that_is_left_out_gives_up_is_kept_below_it() -> None:
    pipeline = a_pipeline({"model": {"path": "small.tflite"}}, {"every": 3})
    _, _, lowest = pipeline_on_each_rung(pipeline, without=[1])
    assert (lowest.model.path.name, lowest.every) == ("big.tflite", 3)


def test_of_several_sources_those_are_lowered_that_are_higher() -> None:
    sources = {
        "door": CAMERA,
        "yard": {"type": "camera", "width": 640, "height": 480, "fps": 5},
        "road": {"type": "video", "path": "rtsp://road/1"},
    }
    pipeline = a_pipeline({"fps": 10, "width": 640, "height": 480}, sources=sources)
    before, after = (rung.all_sources for rung in pipeline_on_each_rung(pipeline))
    door: Any = after["door"]
    assert (door.fps, door.width, door.height) == (10, 640, 480)
    assert after["yard"] == before["yard"]
    assert after["road"] == before["road"]


def test_without_a_ladder_there_is_one_rung() -> None:
    pipeline = Pipeline.model_validate({"source": CAMERA, "model": {"path": "a.tflite"}})
    assert rung_names(pipeline) == ["full"]
    assert pipeline_on_each_rung(pipeline) == [pipeline]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "pi.yaml"


def refusal(config: Path, rungs: str, source: str = "{type: camera, fps: 30}") -> list[str]:
    """Return what is said against these rungs, without the file's name."""
    config.write_text(
        "pipelines:\n"
        "  porch:\n"
        f"    source: {source}\n"
        "    model: {path: a.tflite}\n"
        "    ladder:\n"
        f"      rungs:\n{rungs}",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load(config)
    return [line.removeprefix(f"{config}:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("rung", "said"),
    [
        ("fps: 30", ".fps: must be less than 30, that of the rung above"),
        ("width: 640", ".width: `width` and `height` go together: give both"),
        ("height: 480", ".height: `width` and `height` go together: give both"),
        (
            "width: 1280, height: 720",
            ".width: must give fewer than 921,600 pixels, those of the rung above",
        ),
        ("every: 1", ".every: must be a whole number from 2 to 10000, not 1"),
        ("model: {path: a.tflite}", ".model: is that of the rung above"),
        ("cache: {mode: off}", ".cache: is that of the rung above"),
        (
            "model: null",
            ": gives up nothing: set one of `model`, `every`, `cache`, `fps`, `width`, `height`",
        ),
        ("name: full", ".name: `full` is the name of the pipeline as it is configured"),
        ("name: a b", ".name: must be letters, digits, - and _"),
        ("modle: {path: b}", ".modle: is not known here; did you mean `model`?"),
    ],
)
def test_a_rung_that_gives_up_nothing_or_cannot_is_named_with_its_line(
    config: Path, rung: str, said: str
) -> None:
    name = "" if "name" in rung else "name: low, "
    (line,) = refusal(config, f"        - {{name: slow, every: 2}}\n        - {{{name}{rung}}}\n")
    assert line == f"8: pipelines.porch.ladder.rungs[1]{said}"


def test_all_rungs_are_told_at_once_and_the_second_of_a_name(config: Path) -> None:
    rungs = "        - {name: low, fps: 60}\n        - {name: low, every: 2}\n"
    assert refusal(config, rungs) == [
        "7: pipelines.porch.ladder.rungs[0].fps: must be less than 30, that of the rung above",
        "8: pipelines.porch.ladder.rungs[1].name: another rung is called `low`",
    ]


@pytest.mark.parametrize(
    ("source", "rung", "said"),
    [
        (
            "{type: video, path: film.mp4}",
            "fps: 5",
            ".rungs[0].fps: no source has an `fps` to be lowered here; `every` does without one",
        ),
        (
            "{type: video, path: film.mp4}",
            "width: 64, height: 64",
            ".rungs[0].width: no source has a size that can be asked for",
        ),
        (
            "{type: images, path: pictures}",
            "every: 2",
            ": is for live sources: a pulled one waits for the model, none of its frames is late",
        ),
    ],
)
def test_a_source_that_cannot_be_lowered_is_told(
    config: Path, source: str, rung: str, said: str
) -> None:
    (line,) = refusal(config, f"        - {{name: low, {rung}}}\n", source)
    assert line.partition(": ")[2] == f"pipelines.porch.ladder{said}"
