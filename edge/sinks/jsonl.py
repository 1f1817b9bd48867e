"""Messages as lines of JSON in a file that is set aside when it is full, the oldest removed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edge.errors import SinkError
from edge.options import FilePath
from edge.sinks.base import Sink, SinkOptions

if TYPE_CHECKING:
    from pathlib import Path

    from edge.messages import Message

# Not blocking, so that a FIFO nobody reads is refused rather than waited for.
FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
READABLE = 0o644


class JsonlOptions(SinkOptions):
    """Lines of JSON in a file."""

    type: Literal["jsonl"] = Field(description="Lines of JSON in a file.")
    path: FilePath = Field(description="The file; those set aside are `PATH.1`, `PATH.2`, ….")
    messages: list[Literal["predictions", "metrics", "events", "info"]] = Field(
        default=["predictions"],
        min_length=1,
        description="Which messages, by the last level of their topic.",
    )
    max_bytes: int = Field(
        default=10_000_000,
        ge=1000,
        le=1_000_000_000_000,
        description="A file that the next line would make longer is set aside first.",
    )
    keep: int = Field(
        default=5, ge=0, le=1000, description="How many files set aside are kept; older ones go."
    )

    def make(self) -> Sink:
        """Return the sink these options describe."""
        return Jsonl(self)


class Jsonl(Sink):
    """Writes whole lines, each handed to the kernel at once; no part of a line on a full disk.

    A file renamed or removed by somebody else is begun anew with the next message.
    """

    def __init__(self, options: JsonlOptions) -> None:
        self._path = options.path
        self._wanted = frozenset(options.messages)
        self._max_bytes = options.max_bytes
        self._keep = options.keep
        self._file: int | None = None

    def send(self, message: Message) -> None:
        """Write the payload as one line. Raises SinkError when the file takes none now."""
        if message.topic_name not in self._wanted:
            return
        line = message.to_json() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            self.close()
            raise SinkError(
                f"{self._path} cannot be written: {error.strerror}; what comes meanwhile is not "
                "in it, and it goes on when it can be"
            ) from error

    def _write(self, line: bytes) -> None:
        file, size = self._current()
        if size and size + len(line) > self._max_bytes:
            self._set_aside()
            file, size = self._current()
        try:
            written = os.write(file, line)
            while written < len(line):
                written += os.write(file, line[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, size)
            raise

    def _current(self) -> tuple[int, int]:
        """Return the file that bears the name now, and its size in bytes."""
        if self._file is not None:
            held = os.fstat(self._file)
            with suppress(FileNotFoundError):
                named = self._path.stat()
                if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino):
                    return self._file, held.st_size
            self.close()
        self._file = _open(self._path)
        return self._file, os.fstat(self._file).st_size

    def _set_aside(self) -> None:
        self.close()
        if not self._keep:
            self._path.unlink()
            return
        aside = [self._path.with_name(f"{self._path.name}.{n + 1}") for n in range(self._keep)]
        for older, newer in zip(reversed(aside), reversed([self._path, *aside[:-1]]), strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: Path) -> int:
    """Open it at its end; a line that a power cut left unfinished is ended there."""
    file = os.open(path, FLAGS, READABLE)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no regular file")  # noqa: TRY301  closed below
        if found.st_size and os.pread(file, 1, found.st_size - 1) != b"\n":
            os.write(file, b"\n")
    except OSError:
        os.close(file)
        raise
    return file
