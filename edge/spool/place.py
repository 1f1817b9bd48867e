"""Where a device's journal and spool lie, and that nobody else writes them."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.state import file_name, runtime_directory, state_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = ("", "-wal", "-shm")  # what SQLite keeps beside its file
MOST_ASIDE = 2


class Place:
    """A file that is ours alone while we hold its lock."""

    def __init__(self, folder: Path, name: str) -> None:
        """The folder is made when the lock is taken."""
        self.path = folder / name
        self._lock: int | None = None

    def take(self) -> bool:
        """Lock it; False when another process has it. Raises OSError when it cannot be made."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._open_lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _open_lock(self) -> int:
        path = self.path.with_suffix(".lock")
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # what lies there can be delivered

    def set_aside(self) -> Path:
        """Rename a damaged file, so that a new one can be begun; of too many the oldest go."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.set-aside-{stamp}")
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(f"{aside}{suffix}")
        earlier = sorted(self.path.parent.glob(f"{self.path.name}.set-aside-*[0-9]"))
        for old in earlier[:-MOST_ASIDE]:
            for suffix in SUFFIXES:
                old.with_name(old.name + suffix).unlink(missing_ok=True)
        return aside

    def remove(self) -> None:
        """Remove the file with all that is in it."""
        for suffix in SUFFIXES:
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def let_go(self) -> None:
        """Unlock it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def journal_place(device: str) -> Place | None:
    """Return where a device's journal lies: in memory, None where there is no such place."""
    folder = runtime_directory()
    return Place(folder, f"journal-{file_name(device)}.log") if folder is not None else None


def spool_place(device: str) -> Place | None:
    """Return where a device's spool lies: on disk, None where there is no such place."""
    folder = state_directory()
    return Place(folder, f"spool-{file_name(device)}.sqlite") if folder is not None else None


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad, rather than the disk full or away."""
    return type(error) is sqlite3.DatabaseError  # its subclasses are of other faults
