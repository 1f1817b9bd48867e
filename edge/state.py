"""Where the daemon keeps what has to survive it."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "edge-runtime"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder for what the daemon keeps: systemd's where it gives one, else the user's.

    None where there is neither, as for a user without a home. `STATE_DIRECTORY` is of
    systemd.exec(5), `XDG_STATE_HOME` of the XDG Base Directory Specification, which ignores
    relative paths.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if (base := Path(environ.get("XDG_STATE_HOME", ""))).is_absolute():
        return base / NAME
    try:
        return Path("~/.local/state", NAME).expanduser()
    except RuntimeError:
        return None


def runtime_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return a folder in memory that outlives our processes, but no restart of the machine.

    systemd's where it gives one, else the user's, else one of this user's in /dev/shm; None
    where that is somebody else's. `RUNTIME_DIRECTORY` is of systemd.exec(5), `XDG_RUNTIME_DIR`
    of the XDG Base Directory Specification.
    """
    if given := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if (base := Path(environ.get("XDG_RUNTIME_DIR", ""))).is_absolute():
        return base / NAME
    shared = Path("/dev/shm", f"{NAME}-{os.geteuid()}")  # noqa: S108  checked to be ours alone
    try:
        shared.mkdir(mode=0o700, exist_ok=True)
        found = shared.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return shared if ours and not found.st_mode & 0o077 else None


def file_name(device: str) -> str:
    """Return a file's name for a device whose own name may hold any sign, up to 75 letters."""
    digest = hashlib.blake2b(device.encode(), digest_size=5).hexdigest()
    return f"{quote(device, safe='')[:64]}-{digest}"


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file in one stroke, to last a power cut: all of it is there, or what was before.

    Its folder is made where there is none. It takes as long as the disk does. Raises OSError.
    """
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries last a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
