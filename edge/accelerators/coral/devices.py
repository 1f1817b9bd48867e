"""The Coral Edge TPUs that the kernel sees, and who may open them, told from files alone."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

# Vendor and product on USB: before and after its firmware is loaded, by the first who uses it.
ON_USB = {("1a6e", "089a"): False, ("18d1", "9302"): True}
ON_PCI = ("0x1ac1", "0x089a")
USB_2_MBPS = 480


class Machine(NamedTuple):
    """Where a kernel tells of its devices."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """One that is plugged in."""

    bus: Literal["usb", "pci"]
    where: str
    """Its name on the bus, as in sysfs: `2-1`, `0000:01:00.0`."""
    node: Path | None
    """What is opened to use it; None where its driver is not loaded."""
    fresh: bool = False
    """On USB: whether its firmware has not been loaded since it was plugged in."""
    usb_mbps: int | None = None
    """How fast the port is: 480 is USB 2, 5000 USB 3."""

    @property
    def place(self) -> str:
        """Where it is, for people: `on USB (2-1)`."""
        return f"on {'USB' if self.bus == 'usb' else 'PCIe'} ({self.where})"


def find_edge_tpus(machine: Machine) -> list[EdgeTpu]:
    """Return those that the kernel sees, those on USB first."""
    found = []
    for folder in sorted(machine.sys.glob("bus/usb/devices/*")):
        named = (_text(folder / "idVendor"), _text(folder / "idProduct"))
        if named in ON_USB:
            bus, number = _number(folder / "busnum"), _number(folder / "devnum")
            node = machine.dev / f"bus/usb/{bus or 0:03}/{number or 0:03}"
            speed = _number(folder / "speed")
            found.append(EdgeTpu("usb", folder.name, node, fresh=not ON_USB[named], usb_mbps=speed))
    nodes = sorted(machine.dev.glob("apex_*"))
    found += [
        EdgeTpu("pci", folder.name, nodes.pop(0) if nodes else None)
        for folder in sorted(machine.sys.glob("bus/pci/devices/*"))
        if (_text(folder / "vendor"), _text(folder / "device")) == ON_PCI
    ]
    return found


def meant(device: str, found: list[EdgeTpu]) -> list[EdgeTpu]:
    """Return those that `device` may stand for: all, those of a bus, or the n-th of it."""
    bus, _, number = device.partition(":")
    there = [each for each in found if bus in {"any", each.bus}]
    return there[int(number) : int(number) + 1] if number else there


class Holder(NamedTuple):
    """A process that has a device open."""

    pid: int
    name: str


def holder_of(node: Path, machine: Machine) -> Holder | None:
    """Return another process that has a node open, as far as this user may know."""
    for folder in machine.proc.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        with suppress(OSError):  # another user's, or gone meanwhile
            for link in (folder / "fd").iterdir():
                if str(link.readlink()) == str(node):
                    return Holder(int(folder.name), _text(folder / "comm"))
    return None


def may_open(node: Path) -> bool:
    """Whether this user may use a node."""
    return os.access(node, os.R_OK | os.W_OK)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(float(text)) if text.replace(".", "", 1).isdecimal() else None
