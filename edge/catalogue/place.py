"""Puts a model's folder in its place: whole or not at all, and never over what is no model."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge.catalogue.card import CARD, SIGNATURE, read_card
from edge.errors import CardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # renameat2(2)


def check_replaceable(folder: Path) -> None:
    """Find out whether a model's folder may be put there.

    A new or an empty one will do, or a model's, which is then replaced. Raises CardError for
    anything else: nothing that is not a model's own is ever deleted.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise CardError(f"{folder}: is there already, and is no folder: name another")
    there = {path.name for path in folder.iterdir()}
    if not there:
        return
    try:
        own = {*read_card(folder).files, CARD, SIGNATURE}
    except CardError as error:
        raise CardError(f"{folder}: is there already, and is no model's folder: {error}") from error
    if stray := sorted(there - own):
        raise CardError(
            f"{folder}: holds {stray[0]}, which its {CARD} does not name: move it away, or name "
            "another folder"
        )


def put_in_place(made: Path, folder: Path) -> None:
    """Give a whole folder its name, to last a power cut; one that has the name is deleted.

    The two names are exchanged, so that there is one whole folder at every moment, where the file
    system can do that. Raises OSError.
    """
    for path in (*made.iterdir(), made):
        _sync(path)
    try:
        made.rename(folder)  # also over an empty one
    except OSError:
        if not folder.is_dir():
            raise
        _exchange(made, folder)
    _sync(folder.parent)


def _exchange(made: Path, folder: Path) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(made), os.fsencode(folder))
    if renameat2 is None or renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        aside = made.with_name(f"{made.name}.old")
        folder.rename(aside)
        made.rename(folder)
        made = aside
    shutil.rmtree(made, ignore_errors=True)


@contextmanager
def workplace(folder: Path, waiting: Callable[[], None]) -> Iterator[Path]:
    """Yield a folder beside `folder`, for one process at a time, and what earlier ones left in it.

    `waiting` is called where another process is in there. Raises OSError.
    """
    path = folder.with_name(f".{folder.name}.fetching")
    while True:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _lock(descriptor, waiting)
            if not _is_at(descriptor, path):
                continue  # the other one was done with it
            yield path
            return
        finally:
            if _is_at(descriptor, path):
                with suppress(OSError):
                    path.rmdir()  # where nothing came
            os.close(descriptor)


def _lock(descriptor: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def write_in_one_stroke(path: Path, content: bytes) -> None:
    """Write a file to last a power cut: all of it is there, or what was before. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
