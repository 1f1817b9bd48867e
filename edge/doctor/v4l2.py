"""Asks V4L2 nodes what they are and what they give, through ioctl.

`main` is a process of its own, for a driver may hang: it prints one JSON object a node.
Source of numbers and structures: Linux, include/uapi/linux/videodev2.h. None of the structures
holds anything wider than 32 bits, so they are the same for 32- and 64-bit programs.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge.sources.v4l2 import capability

if TYPE_CHECKING:
    from collections.abc import Iterator

ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 2, 74, 75
READ, WRITE = 2, 1  # directions in a request's number, asm-generic/ioctl.h
CAPTURE, CAPTURE_MPLANE = 1, 9  # kinds of buffers
DISCRETE = 1
MOST = 64  # formats, sizes, rates: no driver has more, and one that never ends must not hang us


@dataclass(frozen=True, slots=True)
class Size:
    """A size in which a camera gives a format."""

    width: int
    height: int
    fps: tuple[float, ...]
    """Frames a second it can do at this size, fastest first; empty where it does not tell."""


@dataclass(frozen=True, slots=True)
class Format:
    """A pixel format of a camera."""

    fourcc: str
    sizes: tuple[Size, ...]
    """Largest first. Where any size between two limits will do, these are the limits."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node says of itself."""

    driver: str
    card: str
    bus: str
    captures: bool
    """Whether it gives pictures by itself: not only metadata, and no codec or scaler."""
    formats: tuple[Format, ...]


def ask_node(path: str) -> Node:
    """Ask one node. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        told = capability(descriptor)
        kind = CAPTURE_MPLANE if told.planes else CAPTURE
        formats = tuple(_formats(descriptor, kind)) if told.captures else ()
    finally:
        os.close(descriptor)
    return Node(told.driver, told.card, told.bus, told.captures, formats)


def _formats(descriptor: int, kind: int) -> Iterator[Format]:
    """`struct v4l2_fmtdesc`: index, type, flags, description[32], pixelformat, 4 more words."""
    for told in _each(descriptor, ENUM_FMT, 64, lambda index: struct.pack("=2I", index, kind)):
        (pixels,) = struct.unpack_from("=I", told, 44)
        fourcc = (pixels & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace")
        sizes = sorted(_sizes(descriptor, pixels), key=lambda s: s.width * s.height, reverse=True)
        yield Format(fourcc, tuple(sizes))


def _sizes(descriptor: int, pixels: int) -> Iterator[Size]:
    """`struct v4l2_frmsizeenum`: index, pixel_format, type, 6 words of sizes, 2 more."""
    for told in _each(
        descriptor, ENUM_FRAMESIZES, 44, lambda index: struct.pack("=2I", index, pixels)
    ):
        kind, first, second, third, fourth, fifth = struct.unpack_from("=6I", told, 8)
        if kind == DISCRETE:
            yield Size(first, second, _rates(descriptor, pixels, first, second))
            continue
        # min_width, max_width, step_width, min_height, max_height
        yield Size(second, fifth, _rates(descriptor, pixels, second, fifth))
        yield Size(first, fourth, ())
        del third
        return


def _rates(descriptor: int, pixels: int, width: int, height: int) -> tuple[float, ...]:
    """`struct v4l2_frmivalenum`: index, pixel_format, width, height, type, 3 fractions, 2 words."""
    found = set()
    for told in _each(
        descriptor,
        ENUM_FRAMEINTERVALS,
        52,
        lambda index: struct.pack("=4I", index, pixels, width, height),
    ):
        _kind, numerator, denominator = struct.unpack_from("=3I", told, 16)
        if numerator:
            found.add(round(denominator / numerator, 3))
    return tuple(sorted(found, reverse=True))


def _each(descriptor: int, number: int, size: int, begins: Any) -> Iterator[bytearray]:
    """Ask for item 0, 1, 2 ... until the driver says that there is no such item."""
    for index in range(MOST):
        asked = bytearray(begins(index).ljust(size, b"\0"))
        try:
            yield _ioctl(descriptor, number, READ | WRITE, asked)
        except OSError:
            return


def _ioctl(descriptor: int, number: int, direction: int, data: bytearray) -> bytearray:
    request = direction << 30 | len(data) << 16 | ord("V") << 8 | number
    fcntl.ioctl(descriptor, request, data)
    return data


def main() -> None:
    """Ask the nodes that the command line names."""
    for path in sys.argv[1:]:
        try:
            told: dict[str, Any] = asdict(ask_node(path))
        except OSError as error:
            told = {"trouble": error.strerror or str(error)}
        print(json.dumps({"path": path} | told), flush=True)  # noqa: T201  to who started it
