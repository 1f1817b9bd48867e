"""Files of an installed service: what is to be there, what is there, and putting it there."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["unit", "rules", "configuration", "data"]
"""What has to be done when a file has changed: read the units or the rules again, have the
daemon read the YAML again, or start it anew."""
FOLDERS = {0o644: 0o755, 0o600: 0o700}
"""The mode of a folder that has to be made, by that of the file in it."""


@dataclass(frozen=True)
class Wanted:
    """A file as it is to be."""

    path: Path
    content: bytes | Path
    """What is in it, or the file that it is a copy of."""
    role: Role
    mode: int = 0o644
    owned_like: Path | None = None
    """The folder whose owner it gets; root's where none is named."""

    def data(self) -> bytes:
        """Return what is to be in it."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def is_there(self) -> bool:
        """Whether it is as it is to be."""
        try:
            return (
                self.path.stat().st_mode & 0o777 == self.mode
                and self.path.read_bytes() == self.data()
            )
        except OSError:
            return False

    def put(self) -> None:
        """Write it so that nobody, nor a power cut, finds half of it."""
        _make_folder(self.path.parent, FOLDERS[self.mode], self.owned_like)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.data())
                file.flush()
                os.fchmod(descriptor, self.mode)
                _own(Path(name), self.owned_like)
                os.fsync(descriptor)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class Link:
    """A symbolic link as it is to be."""

    path: Path
    target: str
    role: Role = "unit"

    def is_there(self) -> bool:
        """Whether it is as it is to be."""
        return self.path.is_symlink() and str(self.path.readlink()) == self.target

    def put(self) -> None:
        """Make it, in place of what is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self.target)


def _make_folder(folder: Path, mode: int, owned_like: Path | None) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, 0o755, owned_like)
    folder.mkdir(mode=mode)
    folder.chmod(mode)
    _own(folder, owned_like)


def _own(path: Path, like: Path | None) -> None:
    """Give a path in a folder the folder's owner, where we may."""
    if like is not None and path.is_relative_to(like) and os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)
