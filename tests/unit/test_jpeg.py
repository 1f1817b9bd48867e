"""JPEG pictures are decoded no larger than they are needed, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources import jpeg
from edge.sources.base import whole
from edge.sources.images import read_frame, read_smaller

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def encoded(suffix: str, width: int = 320, height: int = 200) -> NDArray[Any]:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    ok, data = cv2.imencode(suffix, picture)
    assert ok
    return data


def with_orientation(data: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Put an Exif segment (APP1) behind the start of a JPEG."""
    tiff = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01"
    exif = b"Exif\0\0" + tiff + orientation.to_bytes(2, "big") + b"\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    whole_file = data.tobytes()
    return np.frombuffer(whole_file[:2] + segment + whole_file[2:], np.uint8)


@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_a_jpeg_is_decoded_as_much_smaller_as_is_asked(by: int) -> None:
    asked: list[tuple[int, int]] = []

    def reduction(width: int, height: int) -> int:
        asked.append((width, height))
        return by

    data = encoded(".jpg")
    picture = jpeg.decode(data, reduction)
    assert picture is not None
    assert picture.shape == (200 // by, 320 // by, 3)
    assert asked[0] == (320, 200)
    full = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert full is not None
    exact = cv2.resize(full, (320 // by, 200 // by), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.astype(int) - exact).mean() < 4


def test_the_smaller_reduction_is_taken_where_the_picture_may_be_turned() -> None:
    data = with_orientation(encoded(".jpg"), 6)
    assert jpeg.size_of(data) == (320, 200)
    picture = jpeg.decode(data, lambda width, _: 4 if width == 320 else 2)
    assert picture is not None
    assert picture.shape == (160, 100, 3)  # turned, and half of it
    assert jpeg.full_size(data, picture) == (200, 320)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".webp"])
def test_other_formats_are_decoded_whole(suffix: str) -> None:
    data = encoded(suffix)
    assert jpeg.size_of(data) is None
    picture = jpeg.decode(data, lambda *_: 8)
    assert picture is not None
    assert picture.shape == (200, 320, 3)


def test_a_progressive_jpeg_has_its_size_elsewhere_and_it_is_found() -> None:
    ok, data = cv2.imencode(
        ".jpg", np.zeros((48, 80, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    )
    assert ok
    assert jpeg.size_of(data) == (80, 48)


def test_what_ends_too_soon_has_no_size() -> None:
    data = encoded(".jpg")
    header = int(np.flatnonzero((data[:-1] == 0xFF) & (data[1:] == 0xC0))[0])
    for length in range(header + 8):
        assert jpeg.size_of(data[:length]) is None


@given(st.binary(max_size=300))
def test_whatever_follows_the_start_no_size_is_made_up(garbage: bytes) -> None:
    size = jpeg.size_of(np.frombuffer(b"\xff\xd8" + garbage, np.uint8))
    assert size is None or all(1 <= extent <= 65535 for extent in size)


def test_a_file_is_read_smaller_where_that_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    encoded(".jpg").tofile(path)
    small, size = read_smaller(path, lambda *_: 4)
    full = read_frame(path, whole)
    assert isinstance(small, np.ndarray)
    assert isinstance(full, np.ndarray)
    assert (small.shape, full.shape) == ((50, 80, 3), (200, 320, 3))
    assert size == (320, 200)
