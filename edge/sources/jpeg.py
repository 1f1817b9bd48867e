"""JPEG pictures, decoded no larger than they are needed.

libjpeg makes a picture 2, 4 or 8 times smaller while it decodes, by leaving out the fine part of
each block's cosine transform: less work than decoding it whole, and averaged like an area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

START = b"\xff\xd8"
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])  # TEM, RST0 to RST7, SOI
MOST_SEGMENTS = 1000  # before the frame header; the data are untrusted


def decode(data: NDArray[Any], reduction: Callable[[int, int], int]) -> NDArray[Any] | None:
    """Return the picture (uint8, height x width x 3, BGR), or None when OpenCV cannot read it.

    `data` is the file, uint8, one-dimensional, of any format OpenCV knows. A JPEG is made
    smaller by what `reduction` says of its width and height. Raises cv2.error as OpenCV does.
    """
    import cv2

    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    size = size_of(data)
    by = 1
    if size is not None:
        width, height = size
        # A camera held upright notes that the picture is to be turned by 90 degrees.
        by = min(reduction(width, height), reduction(height, width))
    return cv2.imdecode(data, flags[by])


def full_size(data: NDArray[Any], picture: NDArray[Any]) -> tuple[int, int] | None:
    """Return the width and height that a decoded picture has in its file, turned as it is.

    None for what is no JPEG, and was not made smaller.
    """
    size = size_of(data)
    if size is None:
        return None
    width, height = size
    shown_height, shown_width = picture.shape[:2]
    turned = (width - height) * (shown_width - shown_height) < 0
    return (height, width) if turned else size


def size_of(data: NDArray[Any]) -> tuple[int, int] | None:
    """Return a JPEG's width and height from its frame header; None for whatever is no JPEG.

    The segments are those of ITU-T T.81, annex B.
    """
    view = data.data.cast("B")
    if view[:2] != START:
        return None
    at = 2
    try:
        for _ in range(MOST_SEGMENTS):
            if view[at] != 0xFF:  # noqa: PLR2004
                return None
            marker = view[at + 1]
            if marker in FRAME_HEADERS:
                height, width = view[at + 5 : at + 7], view[at + 7 : at + 9]
                size = int.from_bytes(width, "big"), int.from_bytes(height, "big")
                return size if all(size) else None
            if marker == 0xFF:  # a fill byte  # noqa: PLR2004
                at += 1
            elif marker in WITHOUT_LENGTH:
                at += 2
            else:
                at += 2 + int.from_bytes(view[at + 2 : at + 4], "big")
    except IndexError:
        return None
    return None
