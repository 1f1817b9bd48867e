"""Puts a model's folder in its place: whole or not at all, and never over what is no model."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edge.catalogue.card import CARD, SIGNATURE, read_card
from edge.errors import CardError
from edge.state import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
    for path in made.iterdir():
        _sync(path)
    sync_folder(made)
    try:
        made.rename(folder)  # also over an empty one
    except OSError:
        if not folder.is_dir():
            raise
        with _locked(folder):  # lest somebody take the old one for a place to work in
            _exchange(made, folder)
    sync_folder(folder.parent)


def _exchange(made: Path, folder: Path) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(made), os.fsencode(folder))
    if renameat2 is None or renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        aside = made.with_name(f"{made.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
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
        with _locked(path, waiting) as descriptor:
            if not _is_at(descriptor, path):
                continue  # the other one was done with it
            try:
                yield path
            finally:
                if _is_at(descriptor, path):
                    with suppress(OSError):
                        path.rmdir()  # where nothing came
            return


@contextmanager
def _locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Yield the descriptor of a folder that is ours alone, as long as all ask for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
