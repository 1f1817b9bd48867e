"""The Python this runs in: version, bits, processor."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

NEWEST_TRIED = (3, 13)
NEWEST_32_BIT = (3, 11)  # tflite-runtime has no wheel for a newer one, LiteRT none for 32 bit
PI_OS_64 = "install the 64-bit Raspberry Pi OS (Bookworm or newer)"


class Python(Check):
    """Whether an engine exists for this Python on this processor."""

    name = "python"
    group = "software"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Judge the Python that runs."""
        del patient
        bits = 64 if sys.maxsize > 1 << 32 else 32
        yield judge(sys.version_info[:3], bits=bits, machine=platform.machine())


def judge(version: tuple[int, ...], *, bits: int, machine: str) -> Finding:
    """Return the finding on a Python of so many bits under a kernel for `machine`."""
    shown = ".".join(map(str, version))
    says = f"{shown}, {bits}-bit, on {machine}"
    facts = {
        "version": shown,
        "bits": bits,
        "machine": machine,
        "executable": sys.executable,
        "virtual_environment": sys.prefix != sys.base_prefix,
    }
    if machine.startswith("armv6"):
        says += ": no engine has ever been built for ARMv6"
        return problem("Python", says, "take a Raspberry Pi 3, Zero 2 or newer", **facts)
    if bits == 32 and version[:2] > NEWEST_32_BIT:  # noqa: PLR2004
        says += ": no engine has a 32-bit build for a Python newer than 3.11"
        return problem("Python", says, PI_OS_64, **facts)
    if bits == 32:  # noqa: PLR2004
        kernel = " under a 64-bit kernel" if machine in {"aarch64", "x86_64"} else ""
        says += f"{kernel}: only tflite-runtime exists for it, the slower engine"
        return warning("Python", says, PI_OS_64, **facts)
    if version[:2] > NEWEST_TRIED:
        says += ": newer than what this version was tried with"
        return warning("Python", says, "if something fails, try Python 3.13", **facts)
    return ok("Python", says, **facts)
