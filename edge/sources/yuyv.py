"""YUYV frames, made smaller before they become colours: there is a quarter of the work then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Converter:
    """From YUYV to BGR by way of buffers that are written again and again.

    Four bytes are two pixels side by side, their brightness each and one colour: Y0 U Y1 V
    (V4L2_PIX_FMT_YUYV). Four such pairs, a square of them, are averaged into one as they stand,
    which OpenCV does in vector instructions. Each brightness lands less than half a small pixel
    beside its place, towards the middle of its pair; what shrinks the frame further to the
    model's input, which averages pairs, undoes that.
    """

    def __init__(self, width: int, height: int, *, by: int) -> None:
        """Prepare for frames of that size (`width` is even), made 1, 2, 4 or 8 times smaller."""
        import numpy as np

        pairs = width // 2
        self._shape = (height, pairs, 4)
        self._halves = []
        while by > 1:
            height, pairs, by = height // 2, pairs // 2, by // 2
            self._halves.append(np.empty((height, pairs, 4), np.uint8))
        self._bgr = np.empty((height, 2 * pairs, 3), np.uint8)

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the picture (uint8, height x width x 3, BGR), in memory that is written again.

        `data` is the frame's bytes (uint8). Raises ValueError when they are too few or too many.
        """
        import cv2

        packed: NDArray[Any] = data.reshape(self._shape)
        for half in self._halves:
            height, pairs = half.shape[:2]
            cv2.resize(
                packed[: 2 * height, : 2 * pairs],
                (pairs, height),
                dst=half,
                interpolation=cv2.INTER_AREA,
            )
            packed = half
        height, pairs = packed.shape[:2]
        pixels = packed.reshape(height, 2 * pairs, 2)
        return cv2.cvtColor(pixels, cv2.COLOR_YUV2BGR_YUY2, dst=self._bgr)
