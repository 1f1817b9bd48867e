"""What is installed beside this package: versions, folders, shared objects, and how to install."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "edge-runtime"


def pip_install(*what: str) -> str:
    """Return the command that installs into the environment we run in."""
    return f"{sys.executable} -m pip install {' '.join(what)}"


def version_of(distribution: str) -> str | None:
    """Return the version of what pip calls so; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """Return the release of a version: (1, 26, 4) of `1.26.4.post1`."""
    found = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return tuple(found)


def shared_objects(distribution: str) -> list[Path]:
    """Return the shared objects that came with what pip calls so."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    named = [file for file in files if ".so" in file.name]
    return sorted({path for file in named if (path := Path(str(file.locate()))).is_file()})
