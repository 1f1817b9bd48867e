"""What V4L2 devices are, and which of them only libcamera can make pictures with."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

# Linux, include/uapi/linux/videodev2.h: `struct v4l2_capability`, VIDIOC_QUERYCAP, its flags.
CAPABILITY = struct.Struct("=16s32s32s3I12x")
QUERYCAP = 0x80000000 | CAPABILITY.size << 16 | ord("V") << 8
CAN_CAPTURE, CAN_CAPTURE_MPLANE, CAN_M2M = 0x1, 0x1000, 0x8000 | 0x4000
DEVICE_CAPS = 0x80000000  # whether the driver tells what this node can, not the whole device
DEV = Path("/dev")

RIBBON = ("unicam", "bcm2835-unicam", "rp1-cfe")
"""Drivers of a Raspberry Pi's camera port (unicam to the Pi 4, rp1-cfe on the Pi 5): what their
nodes give is raw from the sensor, and only libcamera makes pictures of it."""
PROCESSORS = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec", "rpivid")
"""Of nodes that are no cameras: codecs and image processors that libcamera and FFmpeg use."""


class Device(NamedTuple):
    """What a node says of itself."""

    driver: str
    card: str
    bus: str
    captures: bool
    """Whether it gives pictures by itself: not only metadata, and no codec or scaler."""
    planes: bool
    """Whether it gives them on several planes."""

    @property
    def camera(self) -> bool:
        """Whether its pictures are of use without libcamera."""
        return self.captures and self.driver not in RIBBON + PROCESSORS


def capability(descriptor: int) -> Device:
    """Return what an open node says of itself. Raises OSError."""
    told = bytearray(CAPABILITY.size)
    fcntl.ioctl(descriptor, QUERYCAP, told)
    driver, card, bus, _version, whole, here = CAPABILITY.unpack(told)
    can = here if whole & DEVICE_CAPS else whole
    planes = bool(can & CAN_CAPTURE_MPLANE)
    captures = bool(can & CAN_CAPTURE or planes) and not can & CAN_M2M
    return Device(text(driver), text(card), text(bus), captures, planes)


def text(field: bytes) -> str:
    """Return the text in a field of fixed length."""
    return field.split(b"\0")[0].decode("utf-8", "replace")


def query(node: Path) -> Device | None:
    """Return what a device node says of itself; None where it is none of V4L2, or does not say."""
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return capability(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def devices(dev: Path = DEV) -> dict[Path, Device]:
    """Return all V4L2 devices under `dev` by their nodes, in the order of their numbers."""
    numbered = [(re.fullmatch(r"video(\d+)", node.name), node) for node in dev.glob("video*")]
    nodes = sorted((int(match[1]), node) for match, node in numbered if match)
    found = {node: query(node) for _, node in nodes}
    return {node: device for node, device in found.items() if device is not None}
