"""Frames as they travel in messages: JPEG, PNG, or a tensor behind a header of ours. Untrusted.

A tensor is, all little-endian:

| bytes | |
|---|---|
| 4 | `EDGT` |
| 1 | version: 1 |
| 1 | type: 1 uint8, 2 int8, 3 int16, 4 int32, 5 int64, 6 float32 |
| 1 | number of dimensions: 1 to 6 |
| 1 | 0 |
| 4 each | the dimensions, from the outermost; each at least 1 |
| the rest | the values in C order, exactly as many as the dimensions say |
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from edge.errors import FrameError
from edge.sources import jpeg
from edge.sources.base import ModelInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAGIC, VERSION = b"EDGT", 1
HEADER = struct.Struct("<4sBBBB")
DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f4"}
MOST_DIMENSIONS = 6
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG = PNG_SIGNATURE + b"\x00\x00\x00\rIHDR"  # and length and name of the first chunk
MOST_PIXELS = 40_000_000  # 120 MB when decoded; what a header says is checked before


def unpack(
    payload: bytes, reduction: Callable[[int, int], int]
) -> tuple[NDArray[Any] | ModelInput, tuple[int, int] | None]:
    """Return the frame in a message: pixels (uint8, height x width x 3, BGR), or a model's input.

    A JPEG is made smaller by what `reduction` says of its width and height, which are returned
    as well. Raises FrameError that says what is wrong; nothing is decoded before its size is known
    to be bearable.
    """
    import cv2
    import numpy as np

    if payload.startswith(MAGIC):
        return ModelInput(_tensor(payload)), None
    data = np.frombuffer(payload, np.uint8)
    size = _size_of(payload, data)
    if size is None:
        raise FrameError("is neither a JPEG, nor a PNG, nor a tensor with our header")
    width, height = size
    if width * height > MOST_PIXELS:
        raise FrameError(
            f"is a picture of {width} x {height} pixels; at most {MOST_PIXELS:,} are decoded"
        )
    try:
        picture = jpeg.decode(data, reduction)
    except cv2.error as error:
        raise FrameError(f"cannot be decoded: {error.err}") from error
    if picture is None:
        raise FrameError("is a damaged picture")
    return picture, jpeg.full_size(data, picture)


def pack_tensor(array: NDArray[Any]) -> bytes:
    """Return a model's input as it travels. Raises ValueError for a type that has no number."""
    import numpy as np

    wanted = array.dtype.newbyteorder("<")
    code = next((code for code, name in DTYPES.items() if np.dtype(name) == wanted), None)
    if code is None or not 1 <= array.ndim <= MOST_DIMENSIONS:
        raise ValueError(f"an array of {array.dtype} with {array.ndim} dimensions cannot travel")
    header = HEADER.pack(MAGIC, VERSION, code, array.ndim, 0)
    return header + struct.pack(f"<{array.ndim}I", *array.shape) + array.astype(wanted).tobytes()


def _tensor(payload: bytes) -> NDArray[Any]:
    import numpy as np

    try:
        _, version, code, dimensions, zero = HEADER.unpack_from(payload)
        if version != VERSION or zero or not 1 <= dimensions <= MOST_DIMENSIONS:
            raise FrameError("is a tensor whose header is not of version 1, or is damaged")
        if code not in DTYPES:
            raise FrameError(f"is a tensor of an unknown type ({code})")
        shape = struct.unpack_from(f"<{dimensions}I", payload, HEADER.size)
    except struct.error:
        raise FrameError("is a tensor whose header is cut off") from None
    dtype = np.dtype(DTYPES[code])
    begins, told = HEADER.size + 4 * dimensions, math.prod(shape) * dtype.itemsize
    if not told or told != len(payload) - begins:
        raise FrameError(
            f"is a tensor of {told} bytes by its header, but {len(payload) - begins} came"
        )
    values = np.frombuffer(payload, dtype, offset=begins).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _walk(payload: bytes) -> None:
    """See that each chunk of a PNG has the bytes it speaks of: OpenCV makes room for them first."""
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(payload):
        length, name = struct.unpack_from(">I4s", payload, at)
        at += 12 + length  # with its length, name and checksum
        if at <= len(payload) and name == b"IEND":
            return
    raise FrameError("is a damaged picture")


def _size_of(payload: bytes, data: NDArray[Any]) -> tuple[int, int] | None:
    """Return width and height by the header; None for what is neither JPEG nor PNG."""
    if payload.startswith(PNG) and len(payload) >= len(PNG) + 8:
        _walk(payload)
        width, height = struct.unpack_from(">II", payload, len(PNG))
        return width, height
    return jpeg.size_of(data) if len(data) else None
