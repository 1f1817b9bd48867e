"""Keeps what was accepted until the broker has it, whatever happens to us or the network.

Each message is recorded in the journal, which lies in memory that outlives our processes
(tmpfs), so that flash is not written while the broker is there. Once the broker has
acknowledged nothing for `STALL_S`, all of it goes to the spool on disk, at most a second's
worth at a time and each time with one fsync.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from edge.spool.disk import Disk
from edge.spool.journal import Journal
from edge.spool.place import is_damaged, journal_place, spool_place
from edge.spool.store import Now, Row, Store, row_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from edge.spool.message import Outgoing
    from edge.spool.options import SpoolOptions
    from edge.spool.place import Place

STALL_S = 5.0
TEND_EVERY_S = 1.0
ACKNOWLEDGED_WITHIN_S = 0.05  # until an acknowledgement is recorded; a kill -9 meanwhile repeats it
JOURNAL_BYTES = 4_000_000  # past that it goes to disk though the broker is there: it is memory
JOURNAL_LIMIT = 16_000_000  # where there is no disk to go to
MOST_AT_ONCE = 5000
TOLD_EVERY_S = 60.0
RETRY_S = 10.0


class Spool:
    """All messages of a device that the broker has not acknowledged, in the order they came.

    Used in the event loop's thread; the disk is written in another.
    """

    def __init__(self, device: str, bounds: SpoolOptions) -> None:
        """`bounds` may be changed at any time."""
        self.bounds = bounds
        self.clock_synced = False
        """Whether UTC can be trusted; to be kept up to date."""
        self.on_event: Callable[[str, str], None] = lambda _event, _sentence: None
        self.in_flight: AbstractSet[int] = frozenset()
        """Handed to the client already; they are not dropped."""
        self.dropped = 0
        """Messages given up because of the bounds, since the start."""
        self._journal_place = journal_place(device)
        self._disk_place = spool_place(device)
        self._disk: Disk | None = None
        self._journal = Journal(None)
        self._accepted: list[Callable[[], None]] = []
        self._done: set[int] = set()
        self._done_on_disk: set[int] = set()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._writing = threading.Lock()
        self._moving = False
        self._retry_s = 0.0
        self._last_sign_s = time.monotonic()
        self._failing = ""
        self._told_dropped_s = float("-inf")
        self._untold_dropped = 0
        self._closing = False
        self._waiting = 0
        self._next = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def on_disk(self) -> int:
        """How many of the messages lie on disk."""
        return self._disk.store.count if self._disk is not None else 0

    def open(self) -> None:
        """Take up what an earlier run left behind; must be called in the event loop."""
        self._loop = asyncio.get_running_loop()
        if self._disk_place is not None:
            self._disk_place = self._taken(self._disk_place)
        if self._journal_place is not None:
            self._journal_place = self._taken(self._journal_place)
        if self._disk_place is not None and self._disk_place.path.exists():
            try:
                disk = self._open_disk()
                self._next = 1 + disk.store.last_id
                if disk.refusal is not None:
                    self._disk_failed(disk.refusal)
            except (sqlite3.Error, OSError) as error:
                self._disk_failed(error)
                if self._disk_place.path.exists():
                    # What it holds has numbers that ours must not meet: it is left to the next run.
                    self._disk_place.let_go()
                    self._disk_place = None
        if self._journal_place is not None:
            self._open_journal(self._journal_place)
        self._waiting = len(self._journal.rows) + self.on_disk
        if self._waiting:
            self._tell(
                "spool_found",
                f"{self._waiting} messages of an earlier run wait for the broker, "
                f"{self.on_disk} of them on disk",
            )

    def _taken(self, place: Place) -> Place | None:
        try:
            if place.take():
                return place
        except OSError as error:
            self._tell("spool_failed", f"{place.path.parent} cannot be used: {error.strerror}")
            return None
        self._tell(
            "spool_failed",
            f"{place.path} is in use by another daemon of this device; what waits is kept in "
            "the memory of this one only",
        )
        return None

    def _open_journal(self, place: Place) -> None:
        try:
            self._journal = Journal(place.path)
        except ValueError as error:
            aside = place.set_aside()
            self._tell("spool_set_aside", f"the journal is damaged ({error}); it is now {aside}")
            self._journal = Journal(place.path)
        except OSError as error:
            self._tell("spool_failed", f"{place.path} cannot be used: {error.strerror}")
            return
        # Killed between writing to disk and removing here, or taken in while it was shut to us:
        if self._disk is not None:
            self._journal.number_behind(self._next - 1, self._disk.store.has)
        self._next = max(self._next, 1 + self._journal.last_id)

    def _open_disk(self) -> Disk:
        if self._disk_place is None:
            raise OSError(0, "there is no place for it that can be used")
        self._disk = Disk(self._disk_place.path)
        return self._disk

    def add(self, message: Outgoing, accepted: Callable[[], None] | None = None) -> int:
        """Take a message in; returns its number. `accepted` is called once it is recorded."""
        number, self._next = self._next, self._next + 1
        if not self._waiting:
            self._last_sign_s = time.monotonic()
        self._waiting += 1
        self._journal.add(row_of(number, message, Now.by(clock_synced=self.clock_synced)))
        if accepted is not None:
            self._accepted.append(accepted)
        if self._soon is None:
            self._soon = self._loop.call_soon(self._commit)
        return number

    def done(self, number: int) -> None:
        """Let go of a message that the broker has."""
        self._last_sign_s = time.monotonic()
        self._waiting -= 1
        self._done.add(number)
        if self._disk is not None or self._moving:
            self._done_on_disk.add(number)
        if self._soon is None and self._later is None:
            self._later = self._loop.call_later(ACKNOWLEDGED_WITHIN_S, self._commit)

    def _commit(self, *, again: bool = False) -> None:
        """Record what came and forget what went, with one write.

        A journal that took nothing is tried `again` once a second, and what waits goes to disk.
        """
        for timer in (self._soon, self._later):
            if timer is not None:
                timer.cancel()
        self._soon = self._later = None
        self._journal.remove(self._done)
        self._done.clear()
        failing = self._journal.failing
        if not failing or again:
            try:
                self._journal.commit()
            except OSError as error:
                if not failing:
                    self._tell(
                        "spool_failed",
                        f"the journal cannot be written ({error.strerror}); what comes from now "
                        "on goes to disk, and it is tried again",
                    )
            else:
                if failing:
                    self._tell("journal_back", "the journal takes what waits again")
        if not self._journal.recorded:
            return
        accepted, self._accepted = self._accepted, []
        for each in accepted:
            each()

    def read(self, after: int, limit: int) -> tuple[list[tuple[int, Outgoing]], int, bool]:
        """Look at the next messages behind a number.

        Returns those that are to be delivered, in order, the number behind which to look next,
        and whether there may be more.
        """
        rows: list[Row] = []
        if self._disk is not None and self.on_disk:
            try:
                rows = self._disk.reader.read(after, limit)
            except sqlite3.Error as error:
                self._disk_failed(error)
        behind = rows[-1].id if rows else after
        if len(rows) < limit:
            rows += self._journal.read(behind, limit - len(rows))
        gone = self._done | self._done_on_disk
        found = [row for row in rows if row.id not in gone]
        bad = [row for row in found if not row.whole]
        for row in bad:
            self.done(row.id)
            self._waiting += 1  # they did not arrive
        self._gave_up(len(bad), "they were damaged on disk")
        next_after = rows[-1].id if rows else after
        return [(r.id, r.message) for r in found if r.whole], next_after, len(rows) == limit

    async def tend(self, *, to_disk: bool = False) -> bool:
        """Move to disk what waits for too long, keep to the bounds; to be called every second.

        `to_disk` moves everything at once. True when messages were dropped.
        """
        self._commit(again=True)
        stalled = self._waiting and time.monotonic() - self._last_sign_s >= STALL_S
        may = to_disk or time.monotonic() >= self._retry_s
        due = to_disk or stalled or self._journal.failing or self._journal.bytes > JOURNAL_BYTES
        dropped = 0
        while rows := self._journal.read(-1, MOST_AT_ONCE) if due and may else []:
            dropped += await self._write(rows)
            if self._failing or not to_disk:
                break
        if not rows and may and self._disk is not None:
            dropped += await self._write([])
        if self._journal.bytes > JOURNAL_LIMIT:
            dropped += self._trim_journal()
        return bool(dropped)

    async def _write(self, rows: list[Row]) -> int:
        """Bring the disk up to date; returns how many messages were given up."""
        was_empty, done = not self.on_disk, self._done_on_disk.copy()
        now = Now.by(clock_synced=self.clock_synced)
        self._moving = True
        try:
            if self._disk is not None:
                self._disk.open_to_write()
            trimmed = await asyncio.to_thread(
                self._write_to_disk, rows, done, now, set(self.in_flight)
            )
        except (sqlite3.Error, OSError) as error:
            return self._disk_failed(error)
        finally:
            self._moving = False
        self._failing = ""
        self._done_on_disk -= done
        self._done.update(row.id for row in rows)
        self._commit()
        if rows and was_empty and self._disk_place is not None:
            self._tell(
                "spool_started",
                f"what waits for the broker goes to disk: {self._disk_place.path}",
            )
        elif not was_empty and not self.on_disk:
            self._tell("spool_drained", "nothing waits on disk any more")
        # Some may have been handed on, or have arrived, while they were dropped.
        return self._gave_up(
            len(set(trimmed) - self.in_flight - self._done_on_disk),
            "too many waited, or for too long",
        )

    def _write_to_disk(
        self, rows: list[Row], done: set[int], now: Now, spare: set[int]
    ) -> list[int]:
        """Runs in another thread: a slow card must not hold up the daemon."""
        with self._writing:
            disk = (self._disk or self._open_disk()).store
            if not disk.count and not rows:
                return []
            try:
                disk.begin()
                for row in rows:
                    disk.add(row)
                disk.remove(done)
                trimmed = self._trim(disk, self.bounds.max_bytes, now, spare)
                disk.commit()
            except sqlite3.Error:
                disk.roll_back()
                raise
            if not disk.count:
                disk.shrink()
            return trimmed

    def _trim(
        self, store: Store | Journal, max_bytes: int, now: Now, spare: AbstractSet[int]
    ) -> list[int]:
        bounds = self.bounds
        return store.trim(
            max_bytes=max_bytes, max_age_s=bounds.max_age_s, keep=bounds.keep, spare=spare, now=now
        )

    def _disk_failed(self, error: sqlite3.Error | OSError) -> int:
        """Go on without the disk for now; a damaged file is set aside for a person to see.

        Returns how many messages are given up with it.
        """
        place = self._disk_place
        if place is not None and isinstance(error, sqlite3.Error) and is_damaged(error):
            self._close_disk()
            self._done_on_disk.clear()
            aside = place.set_aside()
            # What is in flight is the client's, and will be acknowledged.
            left = self._journal.rows.keys() - self._done | self.in_flight
            lost, self._waiting = max(self._waiting - len(left), 0), len(left)
            self.dropped += lost
            self._tell(
                "spool_set_aside",
                f"the spool is damaged ({error}): it is now {aside}, with what it holds and was "
                "not delivered; a new one is begun",
            )
            return lost
        sentence = str(error) if isinstance(error, sqlite3.Error) else error.strerror or str(error)
        self._retry_s = time.monotonic() + RETRY_S
        if sentence != self._failing:
            self._failing = sentence
            where = place.path if place is not None else "the spool"
            self._tell(
                "spool_failed",
                f"{where} cannot be written: {sentence}; what waits stays in memory, up to "
                f"{JOURNAL_LIMIT // 1_000_000} MB, and it is tried again",
            )
        return 0

    def _trim_journal(self) -> int:
        limit = min(JOURNAL_LIMIT, self.bounds.max_bytes)
        now = Now.by(clock_synced=self.clock_synced)
        trimmed = self._trim(self._journal, limit, now, self.in_flight)
        return self._gave_up(len(trimmed), "they cannot go to disk, and memory has its bounds")

    def _gave_up(self, count: int, why: str) -> int:
        """Count messages that are dropped, and tell of them now and then."""
        self._waiting -= count
        self.dropped += count
        self._untold_dropped += count
        if self._untold_dropped and time.monotonic() - self._told_dropped_s >= TOLD_EVERY_S:
            self._told_dropped_s = time.monotonic()
            told, self._untold_dropped = self._untold_dropped, 0
            self._tell("messages_dropped", f"{told} messages were given up: {why}")
        return count

    def _tell(self, event: str, sentence: str) -> None:
        """Tell it from the event loop: an event is itself a message that comes to us."""
        if self._closing:
            self.on_event(event, sentence)
        else:
            self._loop.call_soon(lambda: self.on_event(event, sentence))

    def take_over(self, other: Spool) -> None:
        """Take in all that waits in another spool: the device has a new name."""
        after, more = -1, True
        while more:
            found, after, more = other.read(after, MOST_AT_ONCE)
            for number, message in found:
                self.add(message)
                other.done(number)

    async def close(self) -> int:
        """Bring everything to disk, and let go of the files; returns how much is lost now.

        No message is taken in from here on: `on_event` must make none.
        """
        self._closing = True
        await self.tend(to_disk=True)
        self._commit(again=True)
        left = len(self._journal.rows)
        kept = self._journal.path is not None and self._journal.recorded
        self._close_disk()
        self._journal.close()
        for place in (self._journal_place, self._disk_place):
            if place is not None:
                place.let_go()
        return 0 if kept else left

    def _close_disk(self) -> None:
        with self._writing:
            if self._disk is not None:
                self._disk.close()
            self._disk = None
