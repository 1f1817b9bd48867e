"""Why a shared object cannot be loaded, told from what the linker says and from its own header.

Source of the header: System V ABI, "Object Files": `e_ident` and `e_machine`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from edge.accelerators.base import Explained

MAGIC = b"\x7fELF"
MACHINES = {
    3: "32-bit x86",
    40: "32-bit ARM",
    62: "x86-64",
    183: "64-bit ARM",
    243: "RISC-V",
}
FOLDERS = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/local/lib", "usr/lib", "lib")
PACKAGES = {"libusb-1.0.so.0": "libusb-1.0-0"}
"""The Debian package of what a library may need, by the name the linker looks for."""

NEWER_SYSTEM = "take the build for this release of the system"
NO_DELEGATE = "it does not export tflite_plugin_create_delegate"


class Library(NamedTuple):
    """A library as it is named, and the sentence on how to get the right one."""

    title: str
    """What needs it, for people."""
    name: str
    cure: str


def explain(library: Library, said: str, *, root: Path = Path("/")) -> Explained:
    """Say why a library cannot be loaded, and what to do.

    `said` is the linker's word, which begins with the name of what it missed.
    """
    title, name, cure = library
    file = _file_of(name, root)
    if file is None:
        text = f"{name}, which {title} needs, is not installed: {cure}"
        return Explained("library_missing", text)
    why, cure = _why(library, file, said)
    return Explained("library_unusable", f"{file}, which {title} needs, {why}: {cure}")


def _why(library: Library, file: Path, said: str) -> tuple[str, str]:
    """Return what is wrong with a library that is there, and the cure."""
    cure = library.cure
    built_for, runs_on = _machine_of(file), _machine_of(Path(sys.executable))
    if built_for is None:
        return "is no shared library", cure
    if runs_on is not None and built_for != runs_on:
        return f"is built for {built_for}, and this Python for {runs_on}", cure
    if said == NO_DELEGATE:
        return f"is no TFLite delegate ({said})", cure
    newer = re.search(r"version `(\w+_[\d.]+)' not found", said)
    if newer:
        return f"needs {newer[1]}, which is newer than this system", NEWER_SYSTEM
    needs = re.match(r"(\S+): cannot open shared object file", said)
    if needs is None:
        return f"cannot be loaded ({said})", cure
    if needs[1] in {library.name, str(file)}:
        return "is not among what the linker knows", "`sudo ldconfig`, or name its path"
    package = PACKAGES.get(needs[1])
    return f"needs {needs[1]}", f"`sudo apt install {package}`" if package else "install that"


def _file_of(name: str, root: Path) -> Path | None:
    """Return the file that a name stands for, where there is one."""
    if "/" in name:
        return Path(name) if Path(name).is_file() else None
    found = [path for folder in FOLDERS for path in sorted(root.glob(f"{folder}/{name}"))]
    ours = _machine_of(Path(sys.executable))
    return next((path for path in found if _machine_of(path) == ours), next(iter(found), None))


def _machine_of(path: Path) -> str | None:
    """Return what a file's code runs on; None where it has none."""
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError:
        return None
    if len(header) < 20 or not header.startswith(MAGIC):  # noqa: PLR2004  up to e_machine
        return None
    number = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return MACHINES.get(number, f"machine {number}")
