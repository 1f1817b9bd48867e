"""The journal: a log in memory that outlives our processes, of what came and what has left.

A file of records, each `length, CRC-32, body` (little-endian, 4 bytes each; the body in
`marshal` form, version 4): a tuple is a row that came, a list holds the ids of rows that left.
It is read only at the start; a database would do the same for five to ten times the time, on a
core that was asleep.
"""

from __future__ import annotations

import marshal
import os
import struct
import zlib
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from edge.spool.store import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from edge.spool.store import Keep, Now

HEAD = struct.Struct("<II")
MAGIC = b"edge journal 1\n"
COMPACT_BYTES = 1_000_000
MARSHAL_VERSION = 4  # what Python 3.4 and all later ones read


class Journal:
    """Rows by id, in the order they came, and a log of them where there is a place for it.

    What the log cannot take now, on a full disk, waits for the next `commit`; what it has, stays.
    """

    def __init__(self, path: Path | None) -> None:
        """Take up the file's rows. Raises OSError, and ValueError when the file is damaged.

        None is no file: what is kept then ends with this process.
        """
        self.path = path
        self.rows: dict[int, Row] = {}
        self.bytes = 0
        self._file: int | None = None
        self._unwritten: dict[int, Row] = {}
        self._unforgotten: list[int] = []
        self._size = 0
        self._compact_at = COMPACT_BYTES
        self.failing = False
        """Whether the file did not take what the last `commit` had for it."""
        if path is None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        try:
            self._size = self._read(path.read_bytes())
            os.ftruncate(self._file, self._size)
        except BaseException:
            os.close(self._file)
            raise

    def _read(self, content: bytes) -> int:
        """Take up what was recorded; returns how many bytes of it are whole."""
        if MAGIC.startswith(content):
            return 0
        if not content.startswith(MAGIC):
            raise ValueError("it is no journal")
        at = len(MAGIC)
        while at + HEAD.size <= len(content):
            length, crc = HEAD.unpack_from(content, at)
            body = content[at + HEAD.size : at + HEAD.size + length]
            if len(body) < length:
                break  # killed in the middle of writing it: it was not accepted
            if zlib.crc32(body) != crc:
                raise ValueError(f"its record at byte {at} is not what was written")
            self._take(marshal.loads(body))  # noqa: S302  ours alone, and checked
            at += HEAD.size + length
        return at

    def _take(self, record: Any) -> None:
        if isinstance(record, tuple):
            row = Row(*record)
            self.rows[row.id] = row
            self.bytes += row.bytes
        else:
            self._forget(record)

    def _forget(self, ids: Iterable[int]) -> list[int]:
        """Let go of rows; returns the ids of those that were there."""
        gone = [row for row in (self.rows.pop(number, None) for number in ids) if row is not None]
        self.bytes -= sum(row.bytes for row in gone)
        return [row.id for row in gone]

    @property
    def last_id(self) -> int:
        """The greatest id; -1 when it is empty."""
        return next(reversed(self.rows), -1)

    @property
    def recorded(self) -> bool:
        """Whether a kill now would lose none of the rows that are here."""
        return not self._unwritten

    def add(self, row: Row) -> None:
        """Take a row in; it is recorded with the next `commit`."""
        self.rows[row.id] = row
        self.bytes += row.bytes
        if self._file is not None:
            self._unwritten[row.id] = row

    def remove(self, ids: Iterable[int]) -> None:
        """Let go of those of the rows that are there; recorded with the next `commit`."""
        for number in self._forget(ids):
            if self._unwritten.pop(number, None) is None and self._file is not None:
                self._unforgotten.append(number)

    def number_behind(self, last: int, is_there: Callable[[Row], bool]) -> None:
        """Give new numbers to rows that have those of others, elsewhere, up to `last`.

        Rows that are there themselves are let go of. What is numbered anew stays in order.
        """
        rows = list(self.rows.values())
        if not rows or rows[0].id > last:
            return
        self.remove([row.id for row in rows])
        left = [row for row in rows if not is_there(row)]
        for number, row in enumerate(left, 1 + max(last, rows[-1].id)):
            self.add(row._replace(id=number))

    def commit(self) -> None:
        """Record what changed. Raises OSError when the file takes no more; nothing is lost then."""
        records = [_record(tuple(row)) for row in self._unwritten.values()]
        if self._unforgotten:
            records.append(_record(self._unforgotten))
        self.failing = False
        if not records:
            return
        try:
            self._write(b"".join(records if self._size else [MAGIC, *records]))
        except OSError:
            self.failing = True
            raise
        self._unwritten.clear()
        self._unforgotten.clear()
        if self._size > self._compact_at + 4 * self.bytes:
            self._compact()

    def _write(self, data: bytes) -> None:
        """Append all of it, or, with an OSError, nothing."""
        if self._file is None:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _compact(self) -> None:
        """Begin the file anew with the rows that are there; later where two have no room."""
        if self.path is None:
            return
        beside = self.path.with_suffix(".new")
        content = MAGIC + b"".join(_record(tuple(row)) for row in self.rows.values())
        try:
            beside.write_bytes(content)
            beside.replace(self.path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            self._compact_at = self._size + COMPACT_BYTES
            return
        old, flags = self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._file, self._size = os.open(self.path, flags), len(content)
        self._compact_at = COMPACT_BYTES
        if old is not None:
            os.close(old)

    def read(self, after: int, limit: int) -> list[Row]:
        """Return the next rows behind an id, in order."""
        return list(islice((row for number, row in self.rows.items() if number > after), limit))

    def trim(
        self, *, max_bytes: int, max_age_s: float, keep: Keep, spare: AbstractSet[int], now: Now
    ) -> list[int]:
        """Drop what is too old, and what is too much; returns which. `spare` stay."""
        excess, gone = self.bytes - max_bytes, list[int]()
        rows = [row for row in self.rows.values() if row.id not in spare]
        for row in rows if keep == "newest" else sorted(rows, key=lambda row: (row.worth, row.id)):
            if excess > 0 or now.age_s(row) > max_age_s:
                excess -= row.bytes
                gone.append(row.id)
        self.remove(gone)
        return gone

    def close(self) -> None:
        """Close the file; what was not committed is not recorded."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _record(value: tuple[Any, ...] | list[int]) -> bytes:
    body = marshal.dumps(value, MARSHAL_VERSION)
    return HEAD.pack(len(body), zlib.crc32(body)) + body
