"""A YUYV frame made smaller, then converted, looks as one converted, then made smaller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge.config.model import Model
from edge.sources.yuyv import Converter
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def packed(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a BGR picture as a camera's bytes."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUY2).reshape(-1)


def photograph(testdata: Path, name: str) -> NDArray[Any]:
    picture = cv2.imread(str(testdata / "images" / name))
    assert picture is not None
    return cv2.resize(picture, (1280, 720), interpolation=cv2.INTER_AREA)


def test_a_frame_wanted_whole_is_converted_as_opencv_does() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    expected = cv2.cvtColor(packed(picture).reshape(6, 8, 2), cv2.COLOR_YUV2BGR_YUY2)
    np.testing.assert_array_equal(Converter(8, 6, by=1)(packed(picture)), expected)


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("bgr", [(0, 0, 0), (255, 255, 255), (200, 40, 90)])
def test_an_even_colour_stays_what_it_is(by: int, bgr: tuple[int, int, int]) -> None:
    picture = np.full((48, 64, 3), bgr, np.uint8)
    small = Converter(64, 48, by=by)(packed(picture))
    assert small.shape == (48 // by, 64 // by, 3)
    whole = Converter(64, 48, by=1)(packed(picture))
    np.testing.assert_array_equal(small, whole[: 48 // by, : 64 // by])


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("name", ["cat_720p.jpg", "grace_hopper.bmp", "parrot.jpg", "squat.bmp"])
def test_a_photograph_comes_to_the_same_input_within_a_grey_level(
    testdata: Path, name: str, by: int
) -> None:
    side = 720 // by // 3  # three pixels are left for each of the model's, as `reduction` sees to
    spec = TensorSpec("x", (1, side, side, 3), "uint8", 1 / 255, 0)
    preprocess = Preprocessor(Model(path=Path("x.tflite")), spec)
    assert preprocess.reduction(1280, 720) == by
    data = packed(photograph(testdata, name))
    exact, ours = preprocess.buffer(), preprocess.buffer()
    preprocess(Converter(1280, 720, by=1)(data), exact)
    preprocess(Converter(1280, 720, by=by)(data), ours)
    difference = np.abs(exact.astype(int) - ours)
    assert difference.mean() < 0.7
    assert np.percentile(difference, 99) <= 2


@pytest.mark.parametrize(("width", "height", "by"), [(18, 10, 4), (1282, 722, 8)])
def test_sides_that_do_not_divide_lose_their_rest(width: int, height: int, by: int) -> None:
    small = Converter(width, height, by=by)(np.full(2 * width * height, 128, np.uint8))
    assert small.shape == (height // by, width // 2 // by * 2, 3)
    assert small.min() == small.max()


def test_frames_share_one_memory() -> None:
    converter = Converter(64, 48, by=2)
    data = np.zeros(2 * 64 * 48, np.uint8)
    assert np.shares_memory(converter(data), converter(data))


@pytest.mark.parametrize("count", [0, 100, 2 * 64 * 48 - 1, 2 * 64 * 48 + 1])
def test_a_frame_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="reshape"):
        Converter(64, 48, by=2)(np.zeros(count, np.uint8))
