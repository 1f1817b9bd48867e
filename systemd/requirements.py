"""Prints what pip must bring for a wheel of ours, one requirement a line: `requirements.py WHEEL`.

On 64-bit systems that is what the wheel itself asks for. On 32-bit ARM it is not: a 32-bit
Raspberry Pi OS on a Pi 4 boots a 64-bit kernel, `platform_machine` then says aarch64, and the
markers ask for wheels that a 32-bit Python cannot load; and OpenCV comes from the distribution,
which tells pip nothing of it.
"""

import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

from pip._vendor.packaging.requirements import Requirement

NARROW = 32
FROM_THE_DISTRIBUTION = {"opencv-python-headless": "python3-opencv"}
"""What has no wheel for 32-bit ARM and no metadata in Debian: pip's name, and apt's."""


def asked_for(wheel: Path) -> list[str]:
    """Return the lines Requires-Dist of a wheel's metadata (PEP 566)."""
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return metadata.get_all("Requires-Dist", [])


def for_this_python(requirements: list[str], *, bits: int) -> list[str]:
    """Return those that hold here, without markers, and without what apt brings.

    A 32-bit Python is taken to be on ARMv7, whatever the kernel calls the machine.
    """
    narrow = bits == NARROW
    environment = {"extra": ""} | ({"platform_machine": "armv7l"} if narrow else {})
    kept = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        if narrow and requirement.name.lower() in FROM_THE_DISTRIBUTION:
            continue
        kept.append(f"{requirement.name}{requirement.specifier}")
    return kept


if __name__ == "__main__":
    bits = 64 if sys.maxsize > 2**32 else NARROW
    print("\n".join(for_this_python(asked_for(Path(sys.argv[1])), bits=bits)))
