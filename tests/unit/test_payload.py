import struct

import cv2
import numpy as np
import pytest

from edge.errors import FrameError
from edge.sources.base import ModelInput, whole
from edge.sources.payload import pack_tensor, unpack

PICTURE = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)

PNG_END = bytes(9) + b"\x00\x00\x00\x00IEND" + bytes(4)


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_picture_comes_out_as_it_went_in(kind: str) -> None:
    packed = cv2.imencode(kind, PICTURE)[1].tobytes()
    frame, _ = unpack(packed, whole)
    assert isinstance(frame, np.ndarray)
    assert frame.shape == PICTURE.shape
    if kind == ".png":
        assert (frame == PICTURE).all()


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "i4", "i8", "f4"])
def test_a_tensor_comes_out_as_it_went_in_whatever_its_byte_order(dtype: str) -> None:
    array = np.array([[1, -2 if np.dtype(dtype).kind != "u" else 2, 100]], dtype)
    frame, _ = unpack(pack_tensor(array), whole)
    assert isinstance(frame, ModelInput)
    assert isinstance(frame.data, np.ndarray)
    assert frame.data.dtype == array.dtype.newbyteorder("=")
    assert (frame.data == array).all()


def test_the_header_is_as_documented() -> None:
    packed = pack_tensor(np.array([[1, 256]], np.int16))
    assert packed == b"EDGT\x01\x03\x02\x00" + struct.pack("<II", 1, 2) + b"\x01\x00\x00\x01"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "neither"),
        (b"garbage", "neither"),
        (b"\xff\xd8\xff", "neither"),
        (b"\xff\xd8" + b"\xff" * 70_000, "neither"),
        (png_header(60_000, 60_000) + PNG_END, "60000 x 60000"),
        (png_header(10, 10) + bytes(40), "damaged"),
        (cv2.imencode(".png", PICTURE)[1].tobytes()[:60], "damaged"),
        (b"EDGT", "cut off"),
        (b"EDGT\x02\x01\x01\x00\x01\x00\x00\x00x", "version 1"),
        (b"EDGT\x01\x01\x07\x00" + bytes(40), "version 1"),
        (b"EDGT\x01\x09\x01\x00\x01\x00\x00\x00x", "unknown type"),
        (b"EDGT\x01\x01\x04\x00" + struct.pack("<4I", *[2**32 - 1] * 4), "0 came"),
        (b"EDGT\x01\x01\x01\x00" + struct.pack("<I", 0), "0 bytes"),
        (b"EDGT\x01\x01\x01\x00" + struct.pack("<I", 3) + b"ab", "2 came"),
    ],
)
def test_what_is_no_frame_is_refused_in_a_sentence(payload: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        unpack(payload, whole)


def test_random_bytes_behind_every_signature_are_only_refused() -> None:
    random = np.random.default_rng(6)
    for start in (b"EDGT\x01", b"\xff\xd8\xff\xc0", png_header(8, 8), b""):
        for _ in range(200):
            size = int(random.integers(0, 200))
            try:
                unpack(start + random.bytes(size), whole)
            except FrameError:
                continue


def test_an_array_without_a_number_for_its_type_cannot_travel() -> None:
    with pytest.raises(ValueError, match="complex"):
        pack_tensor(np.zeros(3, np.complex64))
