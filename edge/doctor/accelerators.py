"""The Coral Edge TPUs that are plugged in, and the library for them, told from files alone."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from edge.accelerators.coral import devices
from edge.accelerators.edgetpu import LIBRARY

if TYPE_CHECKING:
    from pathlib import Path

    from edge.accelerators.coral.devices import EdgeTpu
    from edge.doctor.patient import Patient

PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")


def find_edge_tpus(patient: Patient) -> list[EdgeTpu]:
    """Return those that the kernel sees."""
    return devices.find_edge_tpus(devices.Machine(sys=patient.sys, dev=patient.dev))


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
