"""Where the model's input lies in a frame: resizing, however it was done, is undone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge.config.model import Model
from edge.config.pipeline import Pipeline
from edge.geometry import NO_PICTURE, Geometry
from edge.sources.base import ModelInput
from edge.sources.images import ImagesOptions
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 96
SIZES = [(640, 480), (480, 640), (96, 96), (1280, 400), (70, 50), (97, 61)]


def a_preprocessor(resize: str, *shape: int) -> Preprocessor:
    model = Model.model_validate({"path": Path("m.tflite"), "resize": resize})
    return Preprocessor(model, TensorSpec("image", shape or (1, SIDE, SIDE, 3), "uint8"))


def with_a_spot(width: int, height: int, x: float, y: float) -> NDArray[np.uint8]:
    """Return a black frame with something bright at this place."""
    down, across = np.mgrid[0:height, 0:width]
    away = ((across + 0.5) / width - x) ** 2 * width**2 + (
        (down + 0.5) / height - y
    ) ** 2 * height**2
    bright = 255 * np.exp(-away / (2 * (min(width, height) / 16) ** 2))
    return np.repeat(bright.astype(np.uint8)[..., None], 3, axis=2)


def brightest(tensor: NDArray[Any]) -> tuple[float, float]:
    """Return the middle of what is bright in an input, in fractions of it."""
    weights = tensor[0, ..., 0].astype(float)
    weights[weights < 130] = 0  # letterbox grey is none
    total = weights.sum()
    down, across = np.mgrid[0 : tensor.shape[1], 0 : tensor.shape[2]]
    return (
        float((weights * (across + 0.5)).sum() / total / tensor.shape[2]),
        float((weights * (down + 0.5)).sum() / total / tensor.shape[1]),
    )


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (0.46, 0.55)])
def test_what_stands_somewhere_in_the_input_stands_there_in_the_frame(
    resize: str, width: int, height: int, x: float, y: float
) -> None:
    preprocess = a_preprocessor(resize)
    tensor = preprocess.buffer()
    geometry = preprocess(with_a_spot(width, height, x, y), tensor)
    found = geometry.of(*brightest(tensor))
    assert found[0] * width == pytest.approx(x * width, abs=max(1.0, width / SIDE))
    assert found[1] * height == pytest.approx(y * height, abs=max(1.0, height / SIDE))


def test_a_stretched_frame_is_the_whole_input() -> None:
    preprocess = a_preprocessor("stretch")
    geometry = preprocess(np.zeros((480, 640, 3), np.uint8), preprocess.buffer())
    assert geometry == Geometry(640, 480)
    assert (geometry.of(0, 0), geometry.of(1, 1)) == ((0, 0), (1, 1))


def test_padding_lies_beside_the_frame_and_what_was_cut_off_is_in_it() -> None:
    wide = np.zeros((180, 320, 3), np.uint8)
    letterbox, crop = a_preprocessor("letterbox"), a_preprocessor("crop")
    padded = letterbox(wide, letterbox.buffer())
    assert padded.of(0, 0)[1] == pytest.approx(-21 / 54)
    assert padded.of(0.5, 1)[1] == pytest.approx(1 + 21 / 54)
    cut = crop(wide, crop.buffer())
    assert cut.of(0, 0) == pytest.approx((70 / 320, 0))
    assert cut.of(1, 1) == pytest.approx((250 / 320, 1))


def test_frames_of_other_sizes_have_places_of_their_own() -> None:
    preprocess = a_preprocessor("letterbox")
    tensor = preprocess.buffer()
    sizes = [(300, 200), (200, 300), (300, 200)]
    found = [preprocess(np.zeros((h, w, 3), np.uint8), tensor) for w, h in sizes]
    assert found[0] == found[2] != found[1]
    assert [(each.width, each.height) for each in found] == sizes


def test_a_pixel_is_the_one_that_holds_the_place_and_always_one_of_the_frame() -> None:
    geometry = Geometry(640, 480)
    assert geometry.pixel(0, 0) == (0, 0)
    assert geometry.pixel(0.5, 0.25) == (320, 120)
    assert geometry.pixel(1, 1) == (639, 479)
    assert geometry.pixel(-0.3, 1.3) == (0, 479)


def test_the_models_input_itself_is_its_own_frame_and_what_is_no_picture_has_no_places() -> None:
    preprocess = a_preprocessor("crop", 1, 24, 32, 3)
    given = ModelInput(np.zeros((1, 24, 32, 3), np.uint8))
    assert preprocess(given, preprocess.buffer()) == Geometry(32, 24)
    preprocess = a_preprocessor("stretch", 1, 640)
    given = ModelInput(np.zeros((1, 640), np.uint8))
    assert preprocess(given, preprocess.buffer()) == NO_PICTURE


# A frame that its source makes smaller on its way.


@pytest.mark.parametrize(("suffix", "smaller"), [(".jpg", 2), (".png", 1)])
def test_pixels_are_those_of_the_file_though_it_is_decoded_smaller(
    suffix: str, smaller: int, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / f"one{suffix}"), with_a_spot(1279, 959, 0.25, 0.75))
    source = ImagesOptions(type="images", path=tmp_path, loop=True, fps=None).make()
    preprocess = a_preprocessor("stretch")
    source.make_smaller(preprocess.reduction, preprocess.scaling)
    source.open()
    never = threading.Event()
    for _ in range(2):  # read, then from memory
        assert source.grab(never) is not None
        frame = source.retrieve()
        assert isinstance(frame, np.ndarray)
        assert frame.shape[1] == -(-1279 // smaller)
        tensor = preprocess.buffer()
        geometry = preprocess(frame, tensor)
        if source.size is not None:
            geometry = geometry.of_size(*source.size)
        assert (geometry.width, geometry.height) == (1279, 959)
        assert geometry.pixel(*geometry.of(*brightest(tensor))) == pytest.approx((319, 719), abs=8)


def test_a_reused_result_is_never_one_of_a_frame_of_another_size(
    testdata: Path, tmp_path: Path
) -> None:
    """The same input, of a small frame and of the same one enlarged, has its object elsewhere."""
    from edge.wire import Done
    from edge.worker.loop import Loop
    from edge.worker.prepare import prepare

    face = cv2.imread(str(testdata / "images" / "grace_hopper.bmp"))
    assert face is not None
    small = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "1.png"), small)
    cv2.imwrite(str(tmp_path / "2.png"), small)
    cv2.imwrite(str(tmp_path / "3.png"), small.repeat(2, 0).repeat(2, 1))  # averages to the same
    options = Pipeline.model_validate(
        {
            "source": {"type": "images", "path": tmp_path},
            "model": {"path": testdata / "models" / "fomo_face_96.tflite"},
            "decode": {"type": "centroids"},
            "cache": {"mode": "exact", "max_age_ms": 60_000},
        }
    )
    records: list[Any] = []
    Loop(options, prepare(options), records.append).run()
    one, again, larger = [record for record in records if isinstance(record, Done)]
    assert [bool(each.cached) for each in (one, again, larger)] == [False, True, False]
    assert one.predictions == again.predictions
    assert [each["x_px"] // 2 for each in larger.predictions] == [
        each["x_px"] for each in one.predictions
    ]
