"""The spool on disk: one SQLite file of messages, in order."""

from __future__ import annotations

import functools
import sqlite3
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edge.spool.message import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

VERSION = 1
TABLES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    correlation BLOB,
    worth REAL NOT NULL,
    bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    machine_boot TEXT NOT NULL,
    up_s REAL NOT NULL,
    utc_s REAL
);
CREATE INDEX by_worth ON messages (worth, id, bytes);
"""
ROW_BYTES = 300  # what a row costs beside topic and payload: index, half-filled pages
AT_ONCE = 100
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")

Keep = Literal["newest", "best"]


class Row(NamedTuple):
    """A message and when it was accepted, by two clocks: a Pi's UTC may be wrong."""

    id: int
    topic: str
    payload: bytes
    correlation: bytes | None
    worth: float
    bytes: int
    crc: int
    machine_boot: str
    up_s: float
    """Seconds that the machine was up (CLOCK_BOOTTIME)."""
    utc_s: float | None
    """None where the clock was not set."""

    @property
    def message(self) -> Outgoing:
        """What is to be published."""
        return Outgoing(self.topic, self.payload, self.correlation, self.worth)

    @property
    def whole(self) -> bool:
        """Whether it is still what was written."""
        return self.crc == _crc(self.topic, self.payload, self.correlation)


class Now(NamedTuple):
    """This moment by the clocks that rows are stamped with."""

    machine_boot: str
    up_s: float
    utc_s: float | None

    @classmethod
    def by(cls, *, clock_synced: bool) -> Now:
        """Read the clocks."""
        utc_s = time.time() if clock_synced else None
        return cls(_machine_boot(), time.clock_gettime(time.CLOCK_BOOTTIME), utc_s)

    def age_s(self, row: Row) -> float:
        """How long ago a row was accepted; 0 where no clock can tell."""
        if row.machine_boot == self.machine_boot:
            return self.up_s - row.up_s
        if row.utc_s is None or self.utc_s is None:
            return 0.0
        return self.utc_s - row.utc_s


def row_of(number: int, message: Outgoing, now: Now) -> Row:
    """Return the message as it is stored."""
    topic, payload, correlation, worth = message
    size = len(topic.encode()) + len(payload) + len(correlation or b"") + ROW_BYTES
    crc = _crc(topic, payload, correlation)
    return Row(number, topic, payload, correlation, worth, size, crc, *now)


class Store:
    """Rows by id. Every method may raise sqlite3.Error: a full disk, a damaged file."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or make the file. Raises sqlite3.DatabaseError when it is another or damaged.

        With `read_only` what it holds can be read on a disk that is full or read-only.
        """
        where = str(path)
        if read_only:
            # Without its log nothing but the file is needed: SQLite would make the index anew.
            has_log = path.with_name(f"{path.name}-wal").exists()
            where = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
        # It is opened in one thread and used in others, never in two at a time.
        self._db = sqlite3.connect(
            where, isolation_level=None, check_same_thread=False, uri=read_only
        )
        try:
            if not read_only:
                self._prepare()
            self.count, self.bytes = self._sums()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        run = self._db.execute
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")  # what is committed survives a power cut
        run("PRAGMA journal_size_limit = 0")
        run("BEGIN IMMEDIATE")  # fails at once where nothing can be written
        run("ROLLBACK")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0 and not run("SELECT 1 FROM sqlite_schema").fetchone():
            self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, not {VERSION}")

    def _sums(self) -> tuple[int, int]:
        count, size = self._db.execute("SELECT COUNT(*), TOTAL(bytes) FROM messages").fetchone()
        return count, int(size)

    @property
    def last_id(self) -> int:
        """The greatest id; -1 when it is empty."""
        (last,) = self._db.execute("SELECT MAX(id) FROM messages").fetchone()
        return -1 if last is None else int(last)

    def has(self, row: Row) -> bool:
        """Whether this very row is there."""
        same = "SELECT 1 FROM messages WHERE id = ? AND crc = ?"
        return self._db.execute(same, (row.id, row.crc)).fetchone() is not None

    def begin(self) -> None:
        """Begin a transaction, unless one is open."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def commit(self) -> None:
        """Make what was written since `begin` last."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo what was written since `begin`, after an error."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self.count, self.bytes = self._sums()

    def add(self, row: Row) -> None:
        """Write a row; one that is there already is left as it is."""
        marks = ", ".join("?" * len(row))
        written = self._db.execute(f"INSERT OR IGNORE INTO messages VALUES ({marks})", row)  # noqa: S608
        if written.rowcount:
            self.count += 1
            self.bytes += row.bytes

    def remove(self, ids: Iterable[int]) -> None:
        """Remove those of the rows that are there."""
        for number in ids:
            for (size,) in self._db.execute(
                "DELETE FROM messages WHERE id = ? RETURNING bytes", (number,)
            ).fetchall():
                self.count -= 1
                self.bytes -= size

    def read(self, after: int, limit: int) -> list[Row]:
        """Return the next rows behind an id, in order."""
        found = self._db.execute(
            "SELECT * FROM messages WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [Row(*each) for each in found]

    def trim(
        self, *, max_bytes: int, max_age_s: float, keep: Keep, spare: AbstractSet[int], now: Now
    ) -> list[int]:
        """Drop what is too old, and what is too much; returns which. `spare` stay."""
        too_old = list(self._too_old(max_age_s, now, spare))
        self.remove(too_old)
        too_much = list(self._too_much(max_bytes, keep, spare)) if self.bytes > max_bytes else []
        self.remove(too_much)
        return too_old + too_much

    def _too_old(self, max_age_s: float, now: Now, spare: AbstractSet[int]) -> Iterator[int]:
        after = -1
        while rows := self.read(after, AT_ONCE):
            for row in rows:
                if now.age_s(row) <= max_age_s:
                    return
                if row.id not in spare:
                    yield row.id
            after = rows[-1].id

    def _too_much(self, max_bytes: int, keep: Keep, spare: AbstractSet[int]) -> Iterator[int]:
        excess = self.bytes - max_bytes
        order = "id" if keep == "newest" else "worth, id"
        for number, size in self._db.execute(f"SELECT id, bytes FROM messages ORDER BY {order}"):  # noqa: S608
            if excess <= 0:
                return
            if number not in spare:
                excess -= size
                yield number

    def shrink(self) -> None:
        """Give the room of removed rows back to the file system."""
        # As a script: `execute` frees one page and leaves it at that.
        self._db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; what was not committed is undone."""
        self._db.close()


def _crc(topic: str, payload: bytes, correlation: bytes | None) -> int:
    return zlib.crc32(correlation or b"", zlib.crc32(payload, zlib.crc32(topic.encode())))


@functools.cache
def _machine_boot() -> str:
    try:
        return MACHINE_BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
