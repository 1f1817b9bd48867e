"""A frame becomes the model's input as plain numpy would make it, and costs no allocation."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import pytest

from edge.config.model import Model
from edge.errors import FrameError, ModelError
from edge.sources.base import ModelInput
from edge.sources.images import read_frame
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Resize = Literal["stretch", "letterbox", "crop"]
RESIZES: tuple[Resize, ...] = ("stretch", "letterbox", "crop")
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


def model(**fields: Any) -> Model:
    """The exact interpolation, unless another is asked for."""
    return Model(path=Path("some.tflite"), **({"interpolation": "area"} | fields))


def an_input(
    *shape: int, dtype: str = "uint8", scale: float = 0.0, zero_point: int = 0
) -> TensorSpec:
    return TensorSpec("input", shape, dtype, scale, zero_point)


def noise(width: int, height: int, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def every_pixel_value() -> NDArray[np.uint8]:
    """16x16 pixels: each channel holds 0..255 once, in an order of its own."""
    values = np.arange(256, dtype=np.uint8)
    return np.stack([values, values[::-1], np.roll(values, 77)], axis=-1).reshape(16, 16, 3)


def preprocessed(
    model: Model, spec: TensorSpec, *frames: NDArray[Any] | ModelInput
) -> NDArray[Any]:
    """The tensor after the last of these frames."""
    preprocess = Preprocessor(model, spec)
    tensor = preprocess.buffer()
    for frame in frames:
        preprocess(frame, tensor)
    return tensor


# What a pixel becomes.


def test_without_mean_and_std_a_uint8_input_gets_the_pixels_themselves() -> None:
    frame = every_pixel_value()
    spec = an_input(1, 16, 16, 3, scale=0.0078125, zero_point=128)
    tensor = preprocessed(model(colour="bgr"), spec, frame)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, frame[None])


def test_without_mean_and_std_an_int8_input_gets_pixel_minus_128_whatever_its_scale() -> None:
    frame = every_pixel_value()
    for scale, zero_point in [(1 / 255, -128), (0.0078125, 0), (1.0, -128), (0.02, 5)]:
        spec = an_input(1, 16, 16, 3, dtype="int8", scale=scale, zero_point=zero_point)
        tensor = preprocessed(model(colour="bgr"), spec, frame)
        assert tensor.dtype == np.int8
        np.testing.assert_array_equal(tensor, frame[None].astype(np.int16) - 128)


def test_without_mean_and_std_a_float_input_gets_pixel_by_255() -> None:
    frame = every_pixel_value()
    tensor = preprocessed(model(colour="bgr"), an_input(1, 16, 16, 3, dtype="float32"), frame)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, frame[None].astype(np.float64) / 255, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(0.003921568859368563, 0), (0.0078125, -1), (0.0186584, 114), (0.5, -7), (1.0, -128)],
)
@pytest.mark.parametrize(
    ("mean", "std"), [(0.0, 255.0), (127.5, 127.5), (0.0, 1.0), IMAGENET, ([0.0, 128.0, 255.0], 64)]
)
def test_mean_and_std_are_quantized_by_the_specification_and_clipped(
    dtype: str, scale: float, zero_point: int, mean: Any, std: Any
) -> None:
    frame = every_pixel_value()
    spec = an_input(1, 16, 16, 3, dtype=dtype, scale=scale, zero_point=zero_point)
    tensor = preprocessed(model(mean=mean, std=std), spec, frame)

    rgb = frame[..., ::-1].astype(np.float64)
    real = (rgb - np.asarray(mean)) / np.asarray(std)
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    expected = np.clip(np.round(real / scale) + zero_point, low, high)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor[0], expected)


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), IMAGENET])
def test_mean_and_std_of_a_float_input_are_not_quantized(mean: Any, std: Any) -> None:
    frame = every_pixel_value()
    spec = an_input(1, 16, 16, 3, dtype="float32")
    tensor = preprocessed(model(mean=mean, std=std), spec, frame)
    expected = (frame[..., ::-1].astype(np.float64) - np.asarray(mean)) / np.asarray(std)
    np.testing.assert_allclose(tensor[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_mean_and_std_apply_to_a_grey_input_too(dtype: str) -> None:
    frame = every_pixel_value()
    spec = an_input(1, 16, 16, 1, dtype=dtype, scale=0.02, zero_point=3)
    tensor = preprocessed(model(mean=[100.0], std=50), spec, frame)
    real = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float64) - 100) / 50
    if dtype == "float32":
        np.testing.assert_allclose(tensor[0, :, :, 0], real, rtol=1e-6)
    else:
        limits = np.iinfo(dtype)
        expected = np.clip(np.round(real / 0.02) + 3, limits.min, limits.max)
        np.testing.assert_array_equal(tensor[0, :, :, 0], expected)


# Colour.


@pytest.mark.parametrize("colour", ["auto", "rgb"])
def test_three_channels_are_rgb_unless_said_otherwise(colour: str) -> None:
    frame = every_pixel_value()
    tensor = preprocessed(model(colour=colour), an_input(1, 16, 16, 3), frame)
    np.testing.assert_array_equal(tensor[0], frame[..., ::-1])


def test_bgr_leaves_the_order_of_the_frame() -> None:
    frame = every_pixel_value()
    tensor = preprocessed(model(colour="bgr"), an_input(1, 16, 16, 3), frame)
    np.testing.assert_array_equal(tensor[0], frame)


@pytest.mark.parametrize("colour", ["auto", "grey"])
def test_one_channel_is_the_grey_of_the_luma_weights(colour: str) -> None:
    frame = every_pixel_value()
    tensor = preprocessed(model(colour=colour), an_input(1, 16, 16, 1), frame)
    blue, green, red = (frame[..., channel].astype(np.float64) for channel in range(3))
    luma = 0.114 * blue + 0.587 * green + 0.299 * red  # ITU-R BT.601
    np.testing.assert_allclose(tensor[0, :, :, 0], luma, atol=0.51)


@pytest.mark.parametrize(
    ("colour", "channels", "told"),
    [("grey", 3, "3 channels"), ("rgb", 1, "1 channel "), ("bgr", 1, "1 channel ")],
)
def test_a_colour_that_does_not_fit_the_channels_is_an_error_of_the_model(
    colour: str, channels: int, told: str
) -> None:
    with pytest.raises(ModelError, match=r"some\.tflite") as caught:
        Preprocessor(model(colour=colour), an_input(1, 16, 16, channels))
    assert f"`colour: {colour}`" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("dtype", ["int16", "float16", "int32"])
def test_pictures_cannot_become_an_input_of_another_type(dtype: str) -> None:
    with pytest.raises(ModelError, match=rf"{dtype} \[1, 16, 16, 3\].*uint8, int8 or float32"):
        Preprocessor(model(), an_input(1, 16, 16, 3, dtype=dtype))


def test_mean_and_std_of_another_number_of_channels_are_an_error_of_the_model() -> None:
    with pytest.raises(ModelError, match="name 2 channels, the input has 3"):
        Preprocessor(model(mean=[1.0, 2.0], std=1.0), an_input(1, 16, 16, 3))


# Geometry: what is cut out of the frame (left, top, width, height), and where it lies in the
# input (the same), worked out by hand. Inputs are written width x height, as frames are.

GEOMETRY = {
    "wide": ((128, 64), (64, 64), (32, 0, 64, 64), (0, 16, 64, 32)),
    "tall": ((64, 128), (64, 64), (0, 32, 64, 64), (16, 0, 32, 64)),
    "equal": ((64, 64), (64, 64), (0, 0, 64, 64), (0, 0, 64, 64)),
    "large and square": ((300, 300), (64, 64), (0, 0, 300, 300), (0, 0, 64, 64)),
    "small and wide": ((20, 10), (64, 64), (5, 0, 10, 10), (0, 16, 64, 32)),
    "a pixel": ((1, 1), (64, 64), (0, 0, 1, 1), (0, 0, 64, 64)),
    "a row of pixels": ((1000, 1), (64, 64), (499, 0, 1, 1), (0, 31, 64, 1)),
    "a column of pixels": ((1, 1000), (64, 64), (0, 499, 1, 1), (31, 0, 1, 64)),
    "720p": ((1280, 720), (224, 224), (280, 0, 720, 720), (0, 49, 224, 126)),
    "720p for a wide input": ((1280, 720), (96, 48), (0, 40, 1280, 640), (5, 0, 85, 48)),
    "tall for a wide input": ((48, 96), (96, 48), (0, 36, 48, 24), (36, 0, 24, 48)),
    "of the wide input's shape": ((192, 96), (96, 48), (0, 0, 192, 96), (0, 0, 96, 48)),
    "a pixel for a wide input": ((1, 1), (96, 24), (0, 0, 1, 1), (36, 0, 24, 24)),
    "a pixel for a tall input": ((1, 1), (24, 96), (0, 0, 1, 1), (0, 36, 24, 24)),
}


def resized(picture: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    shrinks = picture.shape[1] > width or picture.shape[0] > height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how)


def fitted(resize: Resize, case: str, frame: NDArray[Any]) -> NDArray[Any]:
    """The picture the model should see, still BGR."""
    _, (width, height), cut, place = GEOMETRY[case]
    if resize == "stretch":
        return resized(frame, width, height)
    if resize == "crop":
        left, top, cut_width, cut_height = cut
        return resized(frame[top : top + cut_height, left : left + cut_width], width, height)
    left, top, picture_width, picture_height = place
    picture = np.full((height, width, 3), 114, np.uint8)
    picture[top : top + picture_height, left : left + picture_width] = resized(
        frame, picture_width, picture_height
    )
    return picture


@pytest.mark.parametrize("case", GEOMETRY)
@pytest.mark.parametrize("resize", RESIZES)
def test_a_frame_of_any_shape_is_cut_scaled_and_placed(resize: Resize, case: str) -> None:
    (frame_width, frame_height), (width, height), _, _ = GEOMETRY[case]
    frame = noise(frame_width, frame_height)
    spec = an_input(1, height, width, 3)
    tensor = preprocessed(model(resize=resize, colour="bgr"), spec, frame)
    np.testing.assert_array_equal(tensor[0], fitted(resize, case, frame))


@pytest.mark.parametrize("resize", RESIZES)
def test_geometry_colour_and_quantization_go_together(resize: Resize) -> None:
    frame = noise(1280, 720)
    spec = an_input(1, 48, 96, 3, dtype="int8", scale=0.02, zero_point=-5)
    tensor = preprocessed(model(resize=resize, mean=IMAGENET[0], std=IMAGENET[1]), spec, frame)
    rgb = fitted(resize, "720p for a wide input", frame)[..., ::-1].astype(np.float64)
    real = (rgb - np.asarray(IMAGENET[0])) / np.asarray(IMAGENET[1])
    np.testing.assert_array_equal(tensor[0], np.clip(np.round(real / 0.02) - 5, -128, 127))


def test_area_averages_all_pixels_so_that_none_is_passed_over() -> None:
    frame = noise(1280, 640)
    tensor = preprocessed(model(colour="bgr"), an_input(1, 64, 128, 3), frame)
    blocks = frame.reshape(64, 10, 128, 10, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(tensor[0], blocks, atol=0.51)


def test_linear_reads_four_pixels_for_each_of_the_inputs() -> None:
    frame = noise(1280, 640)
    spec = an_input(1, 64, 128, 3)
    tensor = preprocessed(model(colour="bgr", interpolation="linear"), spec, frame)
    expected = cv2.resize(frame, (128, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(tensor[0], expected)
    # A tenth in each direction: the middle of ten pixels lies between the fifth and the sixth.
    corners = [frame[y::10, x::10].astype(np.float64) for y in (4, 5) for x in (4, 5)]
    np.testing.assert_allclose(tensor[0], sum(corners) / 4, atol=1)


@pytest.mark.parametrize(("width", "height"), [(512, 512), (256, 512), (1024, 1024)])
def test_a_pyramid_that_divides_evenly_is_the_exact_average(width: int, height: int) -> None:
    frame = noise(width, height)
    spec = an_input(1, 64, 64, 3)
    pyramid = preprocessed(model(interpolation="pyramid"), spec, frame)
    exact = preprocessed(model(), spec, frame)
    # Each halving rounds once more, half of them up.
    assert np.abs(pyramid.astype(int) - exact).max() <= 2


def test_a_pyramid_comes_much_closer_to_the_exact_average_than_linear_does(
    testdata: Path,
) -> None:
    for picture in ("cat_720p.jpg", "grace_hopper.bmp", "parrot.jpg", "squat.bmp"):
        frame = read_frame(testdata / "images" / picture)
        assert not isinstance(frame, ModelInput)
        for side in (96, 128, 224):
            spec = an_input(1, side, side, 3)
            exact = preprocessed(model(), spec, frame).astype(float)
            off = {
                name: np.abs(preprocessed(model(interpolation=name), spec, frame) - exact).mean()
                for name in ("pyramid", "linear")
            }
            assert off["pyramid"] < 2
            assert off["pyramid"] < 0.6 * off["linear"]


def test_a_pyramid_does_not_shrink_a_panorama_as_if_it_were_a_square() -> None:
    frame = noise(1280, 80)
    spec = an_input(1, 64, 64, 3)
    pyramid = preprocessed(model(interpolation="pyramid"), spec, frame)
    np.testing.assert_array_equal(pyramid, preprocessed(model(), spec, frame))


@pytest.mark.parametrize(
    ("interpolation", "resize", "size", "side", "by"),
    [
        ("pyramid", "stretch", (1280, 720), 128, 1),
        ("pyramid", "stretch", (1280, 720), 120, 2),
        ("pyramid", "stretch", (1920, 1080), 128, 2),
        ("pyramid", "stretch", (3840, 2160), 96, 4),
        ("pyramid", "stretch", (3840, 2160), 32, 8),
        ("pyramid", "letterbox", (1280, 720), 213, 2),
        ("pyramid", "crop", (1280, 720), 121, 1),
        ("linear", "stretch", (1280, 720), 128, 4),
        ("linear", "stretch", (1280, 720), 90, 8),
        ("linear", "stretch", (100, 100), 224, 1),
        ("area", "stretch", (3840, 2160), 32, 1),
    ],
)
def test_a_jpeg_is_decoded_smaller_where_enough_is_left_for_the_interpolation(
    interpolation: str, resize: str, size: tuple[int, int], side: int, by: int
) -> None:
    options = model(interpolation=interpolation, resize=resize)
    assert Preprocessor(options, an_input(1, side, side, 3)).reduction(*size) == by


@pytest.mark.parametrize(
    ("interpolation", "resize", "size", "side", "by"),
    [
        ("pyramid", "stretch", (1280, 720), 360, 0.5),
        ("pyramid", "crop", (1280, 720), 180, 0.25),
        ("linear", "letterbox", (1280, 720), 320, 0.25),
        ("pyramid", "letterbox", (720, 1280), 320, 0.25),
        ("pyramid", "crop", (100, 100), 224, 1),
        ("area", "crop", (1280, 720), 180, 1),
    ],
)
def test_a_good_scaler_may_leave_as_much_as_the_input_takes(
    interpolation: str, resize: str, size: tuple[int, int], side: int, by: float
) -> None:
    options = model(interpolation=interpolation, resize=resize)
    assert Preprocessor(options, an_input(1, side, side, 3)).scaling(*size) == by


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_a_frame_that_a_scaler_made_smaller_becomes_the_same_input(resize: Resize) -> None:
    frame = cv2.GaussianBlur(noise(1280, 720), (0, 0), 12)
    spec = an_input(1, 96, 96, 3)
    by = Preprocessor(model(resize=resize), spec).scaling(1280, 720)
    size = (2 * round(1280 * by / 2), 2 * round(720 * by / 2))
    smaller = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    whole = preprocessed(model(resize=resize), spec, frame).astype(int)
    assert np.abs(preprocessed(model(resize=resize), spec, smaller) - whole).max() <= 3


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 3), (9, 1, 1), (1, 9, 1), (9, 1, 3), (1, 9, 3)]
)
def test_an_input_may_be_as_small_as_a_row_a_column_or_a_pixel(
    shape: tuple[int, int, int], dtype: str
) -> None:
    height, width, channels = shape
    frame = noise(90, 90)
    bgr = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    code = cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB
    pixels = cv2.cvtColor(bgr, code).reshape(shape).astype(np.float64)
    plain = preprocessed(model(), an_input(1, *shape, dtype=dtype), frame)
    normalised = preprocessed(
        model(mean=100.0, std=50.0), an_input(1, *shape, dtype=dtype, scale=0.1), frame
    )
    real = (pixels - 100) / 50
    if dtype == "float32":
        np.testing.assert_allclose(plain[0], pixels / 255, rtol=1e-6)
        np.testing.assert_allclose(normalised[0], real, rtol=1e-5)
    else:
        low = np.iinfo(dtype).min
        np.testing.assert_array_equal(plain[0], pixels + low)
        expected = np.clip(np.round(real / 0.1), low, np.iinfo(dtype).max)
        np.testing.assert_array_equal(normalised[0], expected)


def test_letterbox_padding_is_114_and_intact_after_frames_of_changing_sizes() -> None:
    preprocess = Preprocessor(model(resize="letterbox", colour="bgr"), an_input(1, 64, 64, 3))
    tensor = preprocess.buffer()
    cases = ["wide", "tall", "wide", "equal", "tall", "a pixel", "a row of pixels", "wide"]
    for number, case in enumerate(cases):
        frame = noise(*GEOMETRY[case][0], seed=number)
        for _ in range(2):
            preprocess(frame, tensor)
        np.testing.assert_array_equal(tensor[0], fitted("letterbox", case, frame))
        left, top, width, height = GEOMETRY[case][3]
        padding = np.ones((64, 64), bool)
        padding[top : top + height, left : left + width] = False
        assert (tensor[0][padding] == 114).all()


@pytest.mark.parametrize("resize", RESIZES)
def test_the_size_of_frames_may_change_in_midstream(resize: Resize) -> None:
    preprocess = Preprocessor(model(resize=resize, colour="bgr"), an_input(1, 64, 64, 3))
    tensor = preprocess.buffer()
    for case in ("wide", "a pixel", "tall", "large and square", "small and wide", "equal", "wide"):
        frame = noise(*GEOMETRY[case][0], seed=len(case))
        preprocess(frame, tensor)
        np.testing.assert_array_equal(tensor[0], fitted(resize, case, frame))


def test_a_window_into_a_larger_picture_is_a_frame_like_any_other() -> None:
    sheet = noise(200, 100)
    window = sheet[20:84, 30:158]
    assert not window.flags.c_contiguous
    for resize in RESIZES:
        spec = an_input(1, 64, 64, 3)
        of_the_window = preprocessed(model(resize=resize), spec, window)
        of_a_copy = preprocessed(model(resize=resize), spec, window.copy())
        np.testing.assert_array_equal(of_the_window, of_a_copy)


def test_a_frame_is_not_written_to() -> None:
    frame = noise(64, 64)
    frame.setflags(write=False)
    for resize in RESIZES:
        preprocessed(model(resize=resize), an_input(1, 64, 64, 3, dtype="int8"), frame)


# Frames that are the model's input already.


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
@pytest.mark.parametrize(
    "shape", [(1, 8, 8, 1), (1, 8, 8, 3), (1, 30, 1, 40), (1, 640), (1, 3, 40)]
)
@pytest.mark.parametrize("batch_axis", [True, False])
def test_a_tensor_of_the_inputs_shape_and_type_goes_through_as_it_is(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], *, batch_axis: bool
) -> None:
    tensor = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    np.save(tmp_path / "input.npy", tensor if batch_axis else tensor[0])
    frame = read_frame(tmp_path / "input.npy")
    spec = an_input(*shape, dtype=dtype, scale=0.5, zero_point=3)
    np.testing.assert_array_equal(preprocessed(model(), spec, frame), tensor)


@pytest.mark.parametrize(
    ("given", "spec", "told"),
    [
        (np.zeros((1, 8, 8, 1), np.float32), an_input(1, 8, 8, 1, dtype="int8"), "float32 [1, 8"),
        (np.zeros((1, 9, 8, 1), np.int8), an_input(1, 8, 8, 1, dtype="int8"), "int8 [1, 9, 8, 1]"),
        (np.zeros((8, 8), np.int8), an_input(1, 8, 8, 1, dtype="int8"), "int8 [8, 8]"),
        (np.zeros((2, 640), np.int8), an_input(1, 640, dtype="int8"), "int8 [2, 640]"),
        (np.zeros((1, 640), np.uint8), an_input(1, 640, dtype="int8"), "uint8 [1, 640]"),
        (np.zeros((), np.int8), an_input(1, 640, dtype="int8"), "int8 []"),
        (np.zeros((48, 64, 3), np.uint8), an_input(1, 640, dtype="int8"), "uint8 [48, 64, 3]"),
        (np.zeros((48, 64, 3), np.float32), an_input(1, 8, 8, 3), "float32 [48, 64, 3]"),
        (np.zeros((48, 64), np.uint8), an_input(1, 8, 8, 1), "uint8 [48, 64]"),
        (np.zeros((48, 64, 4), np.uint8), an_input(1, 8, 8, 3), "uint8 [48, 64, 4]"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_refused_and_both_are_named(
    given: NDArray[Any], spec: TensorSpec, told: str
) -> None:
    preprocess = Preprocessor(model(), spec)
    with pytest.raises(FrameError) as caught:
        preprocess(ModelInput(given), preprocess.buffer())
    assert told in str(caught.value)
    assert str(spec) in str(caught.value)


def test_raw_bytes_become_the_input_in_the_machines_own_order() -> None:
    tensor = np.random.default_rng(2).normal(size=(1, 49, 10)).astype(np.float32)
    spec = an_input(1, 49, 10, dtype="float32")
    np.testing.assert_array_equal(preprocessed(model(), spec, ModelInput(tensor.tobytes())), tensor)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_raw_bytes_of_the_wrong_length_are_refused_and_both_lengths_are_named(size: int) -> None:
    preprocess = Preprocessor(model(), an_input(1, 8, 8, 1, dtype="int8"))
    with pytest.raises(FrameError, match=rf"{size} bytes.* 64 \(int8 \[1, 8, 8, 1\]\)"):
        preprocess(ModelInput(bytes(size)), preprocess.buffer())


@pytest.mark.parametrize("shape", [(1, 640), (1, 30, 1, 40), (8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 4)])
def test_a_picture_for_a_model_that_takes_none_is_refused(shape: tuple[int, ...]) -> None:
    spec = an_input(*shape)
    preprocess = Preprocessor(model(), spec)
    assert not preprocess.takes_pixels
    with pytest.raises(FrameError, match="a picture cannot become the model's input") as caught:
        preprocess(noise(8, 8), preprocess.buffer())
    assert str(spec) in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 0, 3), (0, 0, 3)])
@pytest.mark.parametrize("resize", RESIZES)
def test_a_frame_without_pixels_is_refused_and_the_next_one_is_not(
    resize: Resize, shape: tuple[int, ...]
) -> None:
    preprocess = Preprocessor(model(resize=resize, colour="bgr"), an_input(1, 64, 64, 3))
    tensor = preprocess.buffer()
    wide = noise(128, 64)
    preprocess(wide, tensor)
    with pytest.raises(FrameError, match=f"empty: {shape[1]}x{shape[0]}"):
        preprocess(np.zeros(shape, np.uint8), tensor)
    preprocess(wide, tensor)
    np.testing.assert_array_equal(tensor[0], fitted(resize, "wide", wide))


# The cost.


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_frame_costs_an_allocation_of_the_size_of_an_image(
    resize: Resize, dtype: str, channels: int, *, normalised: bool
) -> None:
    means = {"mean": 127.5, "std": 127.5} if normalised else {}
    spec = an_input(1, 192, 224, channels, dtype=dtype, scale=1 / 128)
    preprocess = Preprocessor(model(resize=resize, **means), spec)
    tensor = preprocess.buffer()
    frame = noise(1280, 720)
    preprocess(frame, tensor)  # the first of its size may: buffers are made
    tracemalloc.start()
    try:
        preprocess(frame, tensor)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(50):
            preprocess(frame, tensor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 20_000  # the smallest image here has 192 x 224 = 43,008 bytes
