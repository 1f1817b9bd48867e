"""What `edge tune` tries, and on which sources: the parts that need no worker."""

from __future__ import annotations

import pytest

from edge.config.device import Device
from edge.config.model import Model
from edge.engines.choose import installed
from edge.errors import ConfigError
from edge.lab.sources import at_rate, describe, endless, stand_in
from edge.lab.tune import Listener, Tuner, candidates, thread_counts
from edge.lab.verdict import Candidate
from edge.sources.camera import CameraOptions
from edge.sources.images import ImagesOptions
from edge.sources.synthetic import SyntheticOptions
from edge.sources.video import VideoOptions

SYNTHETIC = {"type": "synthetic"}
NOBODY = Listener(
    plan=lambda _words, _turns: lambda: None,
    said=lambda _words: None,
    judged=lambda _name, _outcomes, _verdict: None,
)


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        (1, [1]),
        (2, [1, 2]),
        (4, [1, 2, 3, 4]),
        (6, [1, 2, 3, 4, 6]),
        (24, [1, 2, 3, 4, 8, 16, 24]),
        (96, [1, 2, 3, 4, 8, 16, 32, 64]),
    ],
)
def test_threads_are_tried_up_to_the_cores(cores: int, threads: list[int]) -> None:
    assert thread_counts(cores) == threads


@pytest.mark.parametrize(
    ("options", "tried"),
    [
        ({}, [("a", 1), ("a", 2), ("b", 1), ("b", 2)]),
        ({"threads": 2}, [("a", 2), ("b", 2)]),
        ({"engine": "litert"}, [("litert", 1), ("litert", 2)]),
        ({"engine": "litert", "threads": 3}, [("litert", 3)]),
    ],
)
def test_only_what_the_configuration_leaves_open_is_tried(
    options: dict[str, object], tried: list[tuple[str, int]]
) -> None:
    model = Model.model_validate({"path": "x"} | options)
    assert candidates(model, ["a", "b"], cores=2) == [Candidate(*each) for each in tried]


def test_a_configuration_that_leaves_nothing_open_is_refused() -> None:
    engine = next(iter(installed()))
    model = {"path": "x", "engine": engine, "threads": 1}
    device = Device.model_validate({"pipelines": {"p": {"source": SYNTHETIC, "model": model}}})
    with pytest.raises(ConfigError, match="nothing to choose"):
        Tuner(device, seconds=1, turns=1, synthetic=False, listener=NOBODY)


def test_a_source_that_is_certainly_wrong_is_refused() -> None:
    source = {"type": "images", "path": "/nowhere/at/all"}
    device = Device.model_validate({"pipelines": {"p": {"source": source, "model": {"path": "x"}}}})
    with pytest.raises(ConfigError, match=r"pipelines\.p\.source: /nowhere/at/all"):
        Tuner(device, seconds=1, turns=1, synthetic=True, listener=NOBODY)


def test_files_begin_again_and_other_sources_stay_as_they_are() -> None:
    images = ImagesOptions.model_validate({"type": "images", "path": "x", "tile": 8})
    assert endless(images) == images.model_copy(update={"loop": True})
    synthetic = SyntheticOptions.model_validate(SYNTHETIC)
    assert endless(synthetic) is synthetic


def test_test_frames_stand_in_with_the_size_and_rate_of_what_is_not_there() -> None:
    camera = CameraOptions.model_validate(
        {"type": "camera", "width": 640, "height": 480, "fps": 15}
    )
    assert describe(camera) == "camera 640x480 at 15 fps"
    assert describe(stand_in(camera)) == "synthetic 640x480 at 15 fps"
    stream = VideoOptions.model_validate({"type": "video", "path": "rtsp://host/path"})
    assert describe(stream) == "video"
    assert describe(stand_in(stream)) == "synthetic 1280x720 at 30 fps"
    pulled = SyntheticOptions.model_validate(SYNTHETIC | {"fps": None})
    assert describe(pulled) == "synthetic 1280x720, as fast as possible"


def test_a_source_is_run_at_another_rate_or_as_fast_as_it_is_asked_where_it_can_be() -> None:
    synthetic = SyntheticOptions.model_validate(SYNTHETIC)
    assert at_rate(synthetic, 15).rate == 15
    assert not at_rate(synthetic, None).live
    camera = CameraOptions.model_validate({"type": "camera"})
    assert at_rate(camera, 15).rate == 15
    assert at_rate(camera, None) is camera, "it has a pace of its own"
    stream = VideoOptions.model_validate({"type": "video", "path": "rtsp://host/path"})
    assert at_rate(stream, None) is stream
    for source, rate_hz in ((camera, 5000), (stream, 15)):
        with pytest.raises(ConfigError, match=f"`{source.type}` cannot be run at {rate_hz} Hz"):
            at_rate(source, rate_hz)
