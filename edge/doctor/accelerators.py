"""The Coral Edge TPUs that are plugged in, and the library for them, told from files alone."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge.doctor.patient import number_of, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge.doctor.patient import Patient

# Vendor and product on USB: before and after its firmware is loaded, by the first who uses it.
ON_USB = {("1a6e", "089a"): False, ("18d1", "9302"): True}
ON_PCI = ("0x1ac1", "0x089a")
LIBRARY = "libedgetpu.so.1"
PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """One that is plugged in."""

    bus: Literal["usb", "pci"]
    where: str
    """Its name on the bus, as in sysfs: `2-1`, `0000:01:00.0`."""
    node: Path | None
    """What is opened to use it; None where there is none yet."""
    fresh: bool = False
    """On USB: whether its firmware has not been loaded since it was plugged in."""
    usb_mbps: int | None = None
    """How fast the port is: 480 is USB 2, 5000 USB 3."""


def find_edge_tpus(patient: Patient) -> list[EdgeTpu]:
    """Return those that the kernel sees."""
    found = []
    for folder in sorted(patient.sys.glob("bus/usb/devices/*")):
        named = (text_of(folder / "idVendor"), text_of(folder / "idProduct"))
        if named in ON_USB:
            bus, number = number_of(folder / "busnum"), number_of(folder / "devnum")
            node = patient.dev / f"bus/usb/{bus or 0:03}/{number or 0:03}"
            speed = number_of(folder / "speed")
            found.append(EdgeTpu("usb", folder.name, node, fresh=not ON_USB[named], usb_mbps=speed))
    nodes = sorted(patient.dev.glob("apex_*"))
    found += [
        EdgeTpu("pci", folder.name, nodes.pop(0) if nodes else None)
        for folder in sorted(patient.sys.glob("bus/pci/devices/*"))
        if (text_of(folder / "vendor"), text_of(folder / "device")) == ON_PCI
    ]
    return found


def edgetpu_library(patient: Patient) -> Path | None:
    """Return the installed runtime, where the linker looks for it; None where there is none."""
    bits = "64" if sys.maxsize > 1 << 32 else ""
    machine = platform.machine() if bits else "arm"
    folders = [
        *patient.root.glob(f"usr/lib/{machine}*-linux-gnu*"),
        *(patient.root / each for each in (f"usr/lib{bits}", "usr/lib", "usr/local/lib")),
    ]
    return next((each / LIBRARY for each in folders if (each / LIBRARY).exists()), None)


def edgetpu_package(patient: Patient) -> str | None:
    """Return name and version of the Debian package the runtime came with."""
    name = ""
    try:
        with (patient.root / "var/lib/dpkg/status").open(
            encoding="utf-8", errors="replace"
        ) as lines:
            for line in lines:
                key, _, value = line.rstrip("\n").partition(": ")
                name = value if key == "Package" else name
                if key == "Version" and name in PACKAGES:
                    return f"{name} {value}"
    except OSError:
        return None
    return None
