"""Fetches files: resumed where they broke off, checked by digest, in place whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from edge.catalogue.urls import ANYWHERE, Access
from edge.catalogue.web import opened
from edge.errors import BrokenOffError, FetchError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
HASHED_AT_ONCE = 1 << 20
SPARE_BYTES = 1 << 20  # of a disk, which stay free
ENOUGH_BYTES = 64 << 10  # a try that got so far does not count as one in vain


def fetch_bytes(url: str, *, max_bytes: int, access: Access = ANYWHERE) -> bytes:
    """Return what is behind a URL, as long as it is small. Raises FetchError."""

    def once() -> bytes:
        content = bytearray()
        with opened(url, access) as body:
            if (body.total_bytes or 0) > max_bytes:
                raise _too_large(url, max_bytes)
            for chunk in body.chunks():
                content += chunk
                if len(content) > max_bytes:
                    raise _too_large(url, max_bytes)
        return bytes(content)

    return _patiently(once, access, lambda: 0)


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str,
    size_bytes: int,
    access: Access = ANYWHERE,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> int:
    """Fetch a file of known digest and size to `target`; `on_bytes` is told how much is there.

    What has come lies in `.NAME.part` beside it and is gone on with, also by a later call; two at a
    time are the caller's to prevent. Returns how many bytes this call brought. Raises FetchError;
    then `target` is as it was.
    """
    part = _Part(target, sha256, size_bytes)
    try:
        if part.at < size_bytes:
            enough_room(target.parent, size_bytes - part.at)
        _patiently(lambda: part.go_on(url, access, on_bytes), access, lambda: part.at)
        part.finish(url, access, on_bytes)
    finally:
        part.close()
    return part.brought


def _patiently(once: Callable[[], T], access: Access, reached: Callable[[], int]) -> T:
    """Call it again while it breaks off and may get further."""
    in_vain, at = 0, reached()
    while True:
        try:
            return once()
        except BrokenOffError:
            in_vain = 0 if reached() >= at + ENOUGH_BYTES else in_vain + 1
            at = max(at, reached())
            if in_vain >= access.tries:
                raise
            time.sleep(access.pause_s * 2 ** max(in_vain - 1, 0))


def part_names(name: str) -> tuple[str, str]:
    """Return under which names a file lies while it is fetched, and what is known of it."""
    return f".{name}.part", f".{name}.part.json"


class _Part:
    """The beginning of a file that is not all here yet."""

    def __init__(self, target: Path, sha256: str, size_bytes: int) -> None:
        self._target, self._sha256, self._size_bytes = target, sha256, size_bytes
        self._path, self._note = map(target.with_name, part_names(target.name))
        self._resumed = False
        self._validator: str | None = None
        self.brought = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.fdopen(os.open(self._path, flags, 0o644), "r+b", buffering=0)
            self._take_up()
        except OSError as error:
            raise FetchError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _take_up(self) -> None:
        """Go on with what an earlier call left, if it was of the same file."""
        self.at, self._digest = 0, hashlib.sha256()
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            known = note["sha256"] == self._sha256
            self._validator = note["validator"] if known else None
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known or os.fstat(self._file.fileno()).st_size > self._size_bytes:
            self._begin()
            return
        while chunk := self._file.read(HASHED_AT_ONCE):
            self._digest.update(chunk)
            self.at += len(chunk)
        self._resumed = self.at > 0

    def _begin(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.at, self._digest, self._resumed, self._validator = 0, hashlib.sha256(), False, None

    def go_on(self, url: str, access: Access, on_bytes: Callable[[int], None]) -> None:
        """Fetch what is missing. Raises FetchError."""
        try:
            self._go_on(url, access, on_bytes)
        except UnreachableError as error:
            if not self.brought:
                raise
            raise BrokenOffError(str(error)) from error  # it was there: it may come back

    def _go_on(self, url: str, access: Access, on_bytes: Callable[[int], None]) -> None:
        while self.at < self._size_bytes:
            with opened(url, access, start=self.at, validator=self._validator) as body:
                if body.start != self.at:  # all of it comes: it is another one, or cannot be cut
                    self._begin()
                self._resumed = self._resumed or self.at > 0
                if body.total_bytes not in {None, self._size_bytes}:
                    raise FetchError(
                        f"{url}: has {body.total_bytes:,} bytes, not {self._size_bytes:,}"
                    )
                self._remember(body.validator)
                for chunk in body.chunks():
                    if self.at + len(chunk) > self._size_bytes:
                        self.discard()
                        raise FetchError(f"{url}: has more than {self._size_bytes:,} bytes")
                    self._write(chunk)
                    on_bytes(self.at)
                if self.at < self._size_bytes and body.total_bytes is None:
                    raise BrokenOffError(
                        f"{url}: ends after {self.at:,} of {self._size_bytes:,} bytes"
                    )

    def finish(self, url: str, access: Access, on_bytes: Callable[[int], None]) -> None:
        """Check the digest and give the file its name. Raises FetchError."""
        if self._digest.hexdigest() != self._sha256 and self._resumed:
            # Two halves of different files, perhaps: the whole once more.
            self._begin()
            _patiently(lambda: self.go_on(url, access, on_bytes), access, lambda: self.at)
        if (found := self._digest.hexdigest()) != self._sha256:
            self.discard()
            raise FetchError(
                f"{url}: has the sha256 {found[:12]}..., not {self._sha256[:12]}...: it was "
                "changed since, or on its way"
            )
        try:
            os.fsync(self._file.fileno())
            self._path.replace(self._target)
            self._note.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot(error) from error

    def _remember(self, validator: str | None) -> None:
        self._validator = validator
        note = {"sha256": self._sha256, "validator": validator}
        try:
            self._note.write_text(json.dumps(note), encoding="utf-8")
        except OSError as error:
            raise self._cannot(error) from error

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view:
                written = self._file.write(view)
                self._digest.update(view[:written])
                self.at += written
                self.brought += written
                view = view[written:]
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> FetchError:
        """Return what to say; a disk that is full gets back what we had taken of it."""
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            self.discard()
            return FetchError(
                f"{self._target.parent}: the disk is full: {self._size_bytes:,} bytes are needed "
                f"for {self._target.name}"
            )
        return FetchError(f"{self._path}: cannot be written: {error.strerror}")

    def discard(self) -> None:
        """Leave nothing behind."""
        for path in (self._path, self._note):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it; what has come stays for the next call."""
        if not self.at:
            self.discard()
        self._file.close()


def enough_room(folder: Path, wanted_bytes: int) -> None:
    """Find out whether so much can come to a folder. Raises FetchError."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise FetchError(f"{folder}: cannot be written: {error.strerror}") from error
    if free_bytes < wanted_bytes + SPARE_BYTES:
        raise FetchError(
            f"{folder}: {free_bytes:,} bytes are free there, and {wanted_bytes:,} are to come"
        )


def _too_large(url: str, max_bytes: int) -> FetchError:
    return FetchError(f"{url}: is larger than {max_bytes:,} bytes, and no more is read of it")
