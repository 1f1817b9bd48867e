"""From a frame's pixels to the model's input tensor, without an allocation a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.errors import FrameError, ModelError
from edge.geometry import NO_PICTURE, Geometry
from edge.sources.base import ModelInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge.config.model import Model
    from edge.tensors import TensorSpec

INTEGER = ("uint8", "int8")
HALVED_FROM = 3  # pixels of the frame for one of the input, a side, where a pyramid halves it
SPARE = 3  # how many of them a JPEG decoder has to leave
FLATTEST = 4  # a frame whose sides shrink so differently is averaged exactly
PADDING = 114  # letterbox grey, YOLO's; any even grey does for the others


class Preprocessor:
    """Resize, colour, quantization, in that order: each works on the smallest picture it can.

    Without `mean` and `std`, pixel 0..255 spans the whole range of an integer input
    (uint8: q = pixel, int8: q = pixel - 128), which is what models trained on [0, 1], on
    [-1, 1] and on [0, 255] alike come to when they are quantized; a float input gets
    pixel / 255. With them, real = (pixel - mean) / std and
    q = round(real / scale) + zero_point, clipped, from a table of 256 entries a channel.
    """

    def __init__(self, model: Model, spec: TensorSpec) -> None:
        """Plan the way for an input of shape [1, height, width, 1 or 3].

        Raises ModelError when pixels cannot become such an input.
        """
        self.spec = spec
        shape = spec.shape
        self._plain = np.dtype(spec.dtype)
        self.takes_pixels = len(shape) == 4 and shape[0] == 1 and shape[3] in (1, 3)  # noqa: PLR2004
        self._own = NO_PICTURE
        if not self.takes_pixels:
            return
        if spec.dtype not in (*INTEGER, "float32"):
            raise ModelError(
                f"{model.path}: the input is {spec}; pictures can become uint8, int8 or float32"
            )
        self._height, self._width, channels = shape[1:]
        self._own = Geometry(self._width, self._height)
        if (model.colour == "grey") != (channels == 1) and model.colour != "auto":
            raise ModelError(
                f"{model.path}: `colour: {model.colour}` does not fit an input of "
                f"{channels} channel{'s' if channels > 1 else ''} ({spec})"
            )
        self._colour_code = None if model.colour == "bgr" else cv2.COLOR_BGR2RGB
        if channels == 1:
            self._colour_code = cv2.COLOR_BGR2GRAY
        self._mode = model.resize
        self._interpolation = model.interpolation
        self._bgr = np.empty((self._height, self._width, 3), np.uint8)
        self._pixels = np.empty((self._height, self._width, channels), np.uint8)
        self._table = self._lookup_table(model, channels)
        self._fitted_to: tuple[int, ...] | None = None

    def buffer(self) -> NDArray[Any]:
        """Return a new tensor of the input's shape and dtype, to be written again and again."""
        return np.zeros(self.spec.shape, self._plain)

    def __call__(self, frame: NDArray[Any] | ModelInput, tensor: NDArray[Any]) -> Geometry:
        """Write a frame into `tensor`, a buffer of ours; return where the input lies in it.

        Raises FrameError when the frame cannot become the model's input.
        """
        if not isinstance(frame, ModelInput):
            self._take_pixels(frame, tensor)
            return self._geometry
        if isinstance(frame.data, bytes):
            self._take_bytes(frame.data, tensor)
        else:
            self._take_array(frame.data, tensor)
        return self._own

    def _take_pixels(self, frame: NDArray[Any], tensor: NDArray[Any]) -> None:
        if not self.takes_pixels:
            raise FrameError(f"a picture cannot become the model's input, {self.spec}")
        if frame.shape != self._fitted_to:
            self._fit(frame.shape)
        top, bottom, left, right = self._cut
        pixels = frame[top:bottom, left:right]
        for height, width, smaller, interpolation in self._steps:
            cv2.resize(
                pixels[:height, :width],
                smaller.shape[1::-1],
                dst=smaller,
                interpolation=interpolation,
            )
            pixels = smaller
        if self._resized is not self._bgr:
            top, left = self._corner
            height, width = self._resized.shape[:2]
            self._bgr[top : top + height, left : left + width] = self._resized
        self._finish(self._bgr, tensor[0])

    def _finish(self, bgr: NDArray[Any], out: NDArray[Any]) -> None:
        """Colour, then quantization, written into the input itself."""
        if self._table is not None:
            self._convert(bgr, self._pixels)
            cv2.LUT(self._pixels, self._table, dst=out)
            return
        pixels = out.view(np.uint8)
        self._convert(bgr, pixels)
        if out.dtype == np.int8:  # int8 = uint8 - 128, which in two's complement is one bit
            np.bitwise_xor(pixels, 0x80, out=pixels)

    def _convert(self, bgr: NDArray[Any], pixels: NDArray[Any]) -> None:
        if self._colour_code is None:
            np.copyto(pixels, bgr)
        else:
            cv2.cvtColor(bgr, self._colour_code, dst=pixels)

    def reduction(self, width: int, height: int) -> int:
        """Return the 1, 2, 4 or 8 by which a frame may be made smaller before it comes here.

        What a JPEG decoder leaves out takes the place of the first halvings.
        """
        if not self.takes_pixels or self._interpolation == "area":
            return 1
        (top, bottom, left, right), (to_width, to_height) = self._plan(width, height)
        spare = SPARE if self._interpolation == "pyramid" else 1
        for by in (8, 4, 2):
            enough = (right - left) >= by * spare * to_width
            if enough and (bottom - top) >= by * spare * to_height:
                return by
        return 1

    def scaling(self, width: int, height: int) -> float:
        """Return by how much a good scaler may scale a frame before it comes here; 1 is not at all.

        Both sides alike, so that what is cut or filled is the same: at most down to the input's
        size. An exact `area` is of the whole frame.
        """
        if not self.takes_pixels or self._interpolation == "area":
            return 1.0
        (top, bottom, left, right), (to_width, to_height) = self._plan(width, height)
        return min(max(to_width / (right - left), to_height / (bottom - top)), 1.0)

    def _plan(self, width: int, height: int) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        """Return what is cut of a frame (top, bottom, left, right) and its (width, height) then."""
        whole, fitted = (0, height, 0, width), (self._width, self._height)
        if self._mode == "crop":
            scale = max(self._width / width, self._height / height)
            cut_w = max(round(self._width / scale), 1)
            cut_h = max(round(self._height / scale), 1)
            top, left = (height - cut_h) // 2, (width - cut_w) // 2
            return (top, top + cut_h, left, left + cut_w), fitted
        if self._mode == "letterbox":
            scale = min(self._width / width, self._height / height)
            return whole, (max(round(width * scale), 1), max(round(height * scale), 1))
        return whole, fitted

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Work out once, for frames of this shape, what is cut, scaled and placed where."""
        height, width = shape[:2]
        if not height or not width:
            raise FrameError(f"the frame is empty: {width}x{height} pixels")
        self._cut, (to_width, to_height) = self._plan(width, height)
        self._corner = ((self._height - to_height) // 2, (self._width - to_width) // 2)
        self._resized = self._bgr
        if (to_width, to_height) != (self._width, self._height):
            self._bgr.fill(PADDING)
            self._resized = np.empty((to_height, to_width, 3), np.uint8)
        top, bottom, left, right = self._cut
        self._steps = list(self._steps_down(bottom - top, right - left))
        by_x, by_y = (right - left) / to_width, (bottom - top) / to_height
        self._geometry = Geometry(
            width,
            height,
            left=(left - self._corner[1] * by_x) / width,
            top=(top - self._corner[0] * by_y) / height,
            across=self._width * by_x / width,
            down=self._height * by_y / height,
        )
        self._fitted_to = shape

    def _steps_down(
        self, height: int, width: int
    ) -> Iterator[tuple[int, int, NDArray[np.uint8], int]]:
        """Yield the resizings of a frame: what of it is taken, where it goes, the interpolation.

        A pyramid: 2x2 pixels become one (which OpenCV does in vector instructions) while there
        are three for each that is wanted, a side; then points are interpolated between four
        pixels each, so close that no pixel is passed over; and the points are averaged.
        """
        resized = self._resized
        to_height, to_width = resized.shape[:2]
        grows = height <= to_height and width <= to_width
        if grows or self._interpolation == "linear":
            yield height, width, resized, cv2.INTER_LINEAR
            return
        if self._interpolation == "pyramid" and _alike(height / to_height, width / to_width):
            while min(height / to_height, width / to_width) >= HALVED_FROM:
                smaller = np.empty((height // 2, width // 2, 3), np.uint8)
                yield height // 2 * 2, width // 2 * 2, smaller, cv2.INTER_AREA
                height, width = smaller.shape[:2]
            if height * width > 2 * to_height * 2 * to_width:  # else the exact way is as fast
                points_y = max(math.ceil(height / to_height / 2), 2)
                points_x = max(math.ceil(width / to_width / 2), 2)
                points = np.empty((points_y * to_height, points_x * to_width, 3), np.uint8)
                yield height, width, points, cv2.INTER_LINEAR
                height, width = points.shape[:2]
        yield height, width, resized, cv2.INTER_AREA

    def _lookup_table(self, model: Model, channels: int) -> NDArray[Any] | None:
        """Return the input's value for each pixel value; None where it is the pixel's own bits."""
        pixel = np.arange(256, dtype=np.float64)[:, None]
        if model.mean is not None and model.std is not None:
            mean, std = (_a_channel(each, channels, model) for each in (model.mean, model.std))
            real = (pixel - mean) / std
        elif self.spec.dtype in INTEGER:
            return None
        else:
            real = (pixel / 255).repeat(channels, 1)
        return np.ascontiguousarray(self._quantized(real).reshape(1, 256, channels))

    def _quantized(self, real: NDArray[Any]) -> NDArray[Any]:
        """By TFLite's 8-bit quantization specification, with what it cannot hold clipped."""
        if self.spec.dtype == "float32":
            return np.asarray(real, np.float32)
        limits = np.iinfo(self._plain)
        quantized = np.rint(real / (self.spec.scale or 1.0)) + self.spec.zero_point
        return np.asarray(quantized.clip(limits.min, limits.max), self._plain)

    def _take_array(self, array: NDArray[Any], tensor: NDArray[Any]) -> None:
        fits = array.shape == tensor.shape or array.shape == tensor.shape[1:]
        if not fits or array.dtype != tensor.dtype:
            given = f"{array.dtype} {list(array.shape)}"
            raise FrameError(f"the input is {given}, the model takes {self.spec}")
        np.copyto(tensor, array.reshape(tensor.shape))

    def _take_bytes(self, data: bytes, tensor: NDArray[Any]) -> None:
        if len(data) != tensor.nbytes:
            raise FrameError(
                f"the input has {len(data)} bytes, the model takes {tensor.nbytes} ({self.spec})"
            )
        np.copyto(tensor, np.frombuffer(data, tensor.dtype).reshape(tensor.shape))


def _alike(one: float, other: float) -> bool:
    """Whether both sides of a frame shrink by somewhat the same."""
    return max(one, other) <= FLATTEST * min(one, other)


def _a_channel(values: float | list[float], channels: int, model: Model) -> NDArray[Any]:
    given = values if isinstance(values, list) else [values] * channels
    if len(given) != channels:
        raise ModelError(
            f"{model.path}: `mean` and `std` name {len(given)} channels, the input has {channels}"
        )
    return np.asarray(given, np.float64)
