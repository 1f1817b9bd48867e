"""Which V4L2 devices there are, and which of them only libcamera can make pictures with."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

# <linux/videodev2.h>: struct v4l2_capability, and VIDIOC_QUERYCAP = _IOR('V', 0, of that size).
CAPABILITY = struct.Struct("16s32s32sIII12x")
VIDIOC_QUERYCAP = 0x80000000 | CAPABILITY.size << 16 | ord("V") << 8
DEVICE_CAPS = 0x80000000  # the capabilities of this node are told apart from the whole device's
VIDEO_CAPTURE = 0x00000001 | 0x00001000  # on one plane, or on several
DEV = Path("/dev")

SENSOR_DRIVERS = frozenset({"unicam", "bcm2835-unicam", "rp1-cfe"})
"""Of the Raspberry Pi's camera ports: a Pi 5 has rp1-cfe, those before it unicam."""
ISP_DRIVERS = frozenset({"bcm2835-isp", "pispbe"})
"""Of what makes pictures of a sensor's data, by libcamera's orders."""


class Device(NamedTuple):
    """What a device says of itself."""

    driver: str
    card: str
    captures: bool
    """Whether it gives pictures, of whatever kind."""

    @property
    def camera(self) -> bool:
        """Whether it gives pictures that are of use without libcamera."""
        return self.captures and self.driver not in SENSOR_DRIVERS | ISP_DRIVERS


def query(node: Path) -> Device | None:
    """Return what a device node says of itself; None where it is none of V4L2, or does not say."""
    buffer = bytearray(CAPABILITY.size)
    try:
        file = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(file, VIDIOC_QUERYCAP, buffer)
        finally:
            os.close(file)
    except OSError:
        return None
    driver, card, _bus, _version, whole, own = CAPABILITY.unpack(buffer)
    capabilities = own if whole & DEVICE_CAPS else whole
    return Device(_text(driver), _text(card), bool(capabilities & VIDEO_CAPTURE))


def devices(dev: Path = DEV) -> dict[Path, Device]:
    """Return all V4L2 devices under `dev` by their nodes, in the order of their numbers."""
    numbered = [(re.fullmatch(r"video(\d+)", node.name), node) for node in dev.glob("video*")]
    nodes = sorted((int(match[1]), node) for match, node in numbered if match)
    found = {node: query(node) for _, node in nodes}
    return {node: device for node, device in found.items() if device is not None}


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
