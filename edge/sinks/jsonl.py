"""Messages as lines of JSON in a file that is set aside when it is full, the oldest removed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edge.errors import SinkError
from edge.options import FilePath
from edge.sinks.base import Messages, Sink, SinkOptions, verify_file

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
    messages: Messages = Field(default=["predictions"])
    max_bytes: int = Field(
        default=10_000_000,
        ge=1000,
        le=1_000_000_000_000,
        description="A file that the next line would make longer is set aside first.",
    )
    keep: int = Field(
        default=5, ge=0, le=1000, description="How many files set aside are kept; older ones go."
    )

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    def verify(self) -> None:
        """Raise SinkError when there is no folder for the file."""
        verify_file(self.path)

    def make(self) -> Sink:
        """Return the sink these options describe."""
        return Jsonl(self)


class Jsonl(Sink):
    """Writes whole lines, each handed to the kernel at once; no part of a line on a full disk.

    A file renamed or removed by somebody else is begun anew with the next message.
    """

    def __init__(self, options: JsonlOptions) -> None:
        self._path = options.path
        self.wanted = frozenset(options.messages)
        self._max_bytes = options.max_bytes
        self._keep = options.keep
        self._file: int | None = None

    def send(self, message: Message) -> None:
        """Write the payload as one line. Raises SinkError when the file takes none now."""
        line = message.to_json() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            self.close()
            raise SinkError(
                f"{self._path} cannot be written: {error.strerror}; what comes meanwhile is lost "
                "to it, and it goes on when it can be"
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
        for number in range(self._keep, 0, -1):
            with suppress(FileNotFoundError):
                self._aside(number - 1).replace(self._aside(number))
        number = self._keep + 1
        while self._aside(number).exists():  # it has been told to keep fewer
            self._aside(number).unlink()
            number += 1

    def _aside(self, number: int) -> Path:
        """Return the file set aside so many files ago; 0 is the one written to."""
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

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
