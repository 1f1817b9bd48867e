"""What an update must know of a pipeline while it runs: deadlines, and the end of its workers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from edge.supervisor.updates.policy import is_crash_loop
from edge.supervisor.updates.records import Share

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.supervisor.updates.book import Book
    from edge.supervisor.updates.records import Update
    from edge.wire import Ready

RECENT = 1000  # frames


class Watch:
    """Sees one pipeline's workers start, die and miss deadlines; outlives reloads.

    It counts the starts of a model on probation before they are made, and takes a model back that
    gets no start more.
    """

    def __init__(self, name: str, book: Book) -> None:
        self.name = name
        self._book = book
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._missed = 0
        self._in_order = False
        """Whether there was a worker, and the last one ended as it was told to, if it has ended."""
        self.counts = False
        """Whether the worker that runs has been counted as a start on probation."""
        self.died_of = ""
        """How the newest worker died that did, since the last `forget`."""
        self.lost = ""
        """Why the model in the shadow runs no more; emptied by who has heard it."""
        self.look = asyncio.Event()
        """Set when something has happened that an update should see to at once."""

    @property
    def recent(self) -> Share:
        """The newest frames, and those of them that missed their deadline."""
        return Share(frames=len(self._recent), missed=self._missed)

    def forget(self) -> None:
        """Begin anew: another model serves."""
        self._recent.clear()
        self._missed = 0
        self.died_of = self.lost = ""

    def judged(self, missed: bool) -> None:
        """Take in a frame that was judged by its deadline."""
        if len(self._recent) == RECENT:
            self._missed -= self._recent[0]
        self._recent.append(missed)
        self._missed += missed

    def starting(self) -> Pipeline | None:
        """Count a start that is about to be made; return what to start with."""
        if self.died_of:
            self._book.see_that_all_is_whole(self.name)
        update = self._book.of(self.name)
        if update is not None and update.phase == "probation" and not self._in_order:
            self._count(update)
        self._in_order = True
        return self._book.options_of(self.name)

    def _count(self, update: Update) -> None:
        """Write down another start of a model on probation, or that it gets none."""
        if is_crash_loop(update.canary, update.starts):
            how = f"; the last one was: {self.died_of}" if self.died_of else ""
            many = f"{update.starts} worker{'s' * (update.starts != 1)}"
            limit = f"`max_starts: {update.canary.max_starts}`"
            why = f"a crash loop: {many} with it ended otherwise than they were told ({limit}){how}"
            self._back(update, why)
        elif trouble := self._book.remember(self.name, update.counted(update.starts + 1)):
            self._back(update, f"a start on probation cannot be written down: {trouble}")
        else:
            self.counts = True

    def _back(self, update: Update, why: str) -> None:
        """Take back a model on probation while no worker runs: the next has the good one."""
        self.forget()
        self._book.end("rolled_back", self.name, update, why, starts=update.starts)
        self.look.set()

    def ready(self, ready: Ready) -> None:
        """Take in that a worker runs a model."""
        del ready
        self.look.set()

    def died(self, how: str) -> None:
        """Take in that a worker died."""
        self._in_order = self.counts = False
        self.died_of = how
        self.look.set()

    def failed(self, message: str) -> None:
        """Take in that a worker could not begin with its model; on probation that is its end."""
        self.died(message)
        update = self._book.of(self.name)
        if update is not None and update.phase == "probation":
            self._back(update, f"no worker can begin with it: {message}")

    def shadow_lost(self, why: str) -> None:
        """Take in that the model in the shadow runs no more."""
        self.lost = why
        self.look.set()
