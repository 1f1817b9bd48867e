"""Resets a Coral on USB, as pulling it out and plugging it in would.

Source of the call: the kernel's drivers/usb/core/devio.c and <linux/usbdevice_fs.h>; for a user
it needs no more than the right to write to the device's node.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from edge.accelerators.coral.devices import find_edge_tpus, meant

if TYPE_CHECKING:
    from edge.accelerators.coral.devices import Machine

USBDEVFS_RESET = ord("U") << 8 | 20  # _IO('U', 20)


def reset(device: str, machine: Machine) -> str:
    """Reset the one Edge TPU on USB that `device` means; return a sentence on what became of it.

    Empty where there is none on USB: a card is not ours to reset.
    """
    found = [each for each in meant(device, find_edge_tpus(machine)) if each.bus == "usb"]
    if not found:
        return ""
    if len(found) > 1:
        return (
            f"none of the {len(found)} Edge TPUs on USB was reset: `device: {device}` does not say "
            "which is meant"
        )
    place, node = found[0].place, found[0].node
    try:
        descriptor = os.open(str(node), os.O_WRONLY)
        try:
            fcntl.ioctl(descriptor, USBDEVFS_RESET, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"the Edge TPU {place} could not be reset: {error.strerror} ({node})"
    return f"the Edge TPU {place} was reset"
