"""Decides when a pipeline's flight recording becomes a trace file, and tells of it.

Reading the ring takes a few milliseconds, the rest is done in a thread: the events of the other
pipelines do not wait for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from edge import flight
from edge.supervisor.log import log
from edge.supervisor.sensor_log import SensorLog
from edge.supervisor.story import furthest, tell
from edge.supervisor.trace_events import trace_events
from edge.supervisor.trace_folder import traces_directory, write_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from pathlib import Path

    from edge.config.recorder import Recorder
    from edge.flight import Recording
    from edge.supervisor.story import Facts, Key, Story, Why

FOLLOWING = 8  # frames after the one that missed its deadline are seen too
SETTLING = 16  # frames after a start that are not told of: nothing is usual yet
FOLLOWING_S = 1.0  # or as many as come within that time
LIMITED = ("deadline_missed", "worker_died")
EVENT_LEVEL = {"asked_for": logging.INFO}


class Keeping(Protocol):
    """Who has the ring of a pipeline's workers."""

    ring: mmap | None


class Archive:
    """Where all pipelines of a daemon put their traces, and what they share."""

    def __init__(self, bounds: Recorder, sensors: SensorLog | None = None) -> None:
        """`bounds` may be replaced at any time; without `sensors` it reads this machine's."""
        self.bounds = bounds
        self.sensors = sensors or SensorLog()
        self._folder = traces_directory()
        self._one_at_a_time = asyncio.Lock()
        self._refused = ""

    async def put(self, stem: str, make: Callable[[], tuple[list[Any], Story]]) -> Path | None:
        """Write a trace that `make` makes; None where that is not wanted, or not possible.

        Why it is not possible is logged, once.
        """
        bounds, folder = self.bounds, self._folder
        if not bounds.keep:
            return None
        if folder is None:
            self._refuse("there is no state directory: set STATE_DIRECTORY or HOME")
            return None
        async with self._one_at_a_time:
            try:
                path = await asyncio.to_thread(lambda: write_trace(folder, stem, *make(), bounds))
            except OSError as error:
                self._refuse(f"{error.filename or folder}: {error.strerror}")
                return None
        self._refused = ""
        return path

    def _refuse(self, why: str) -> None:
        if why != self._refused:
            self._refused = why
            log(logging.WARNING, "trace_failed", f"no trace can be written: {why}")


class BlackBox:
    """One pipeline's flight recording."""

    def __init__(
        self,
        keeper: Keeping,
        archive: Archive,
        facts: Callable[[], Facts],
        tell: Callable[..., None],
    ) -> None:
        """`facts` are asked for when a trace is written.

        `tell` publishes an event: its name, a message, `level` and details.
        """
        self._keeper = keeper
        self._archive = archive
        self._facts = facts
        self._tell = tell
        self._quiet_until = dict.fromkeys(LIMITED, 0.0)
        self._offending: Key | None = None
        self._still_to_come = 0
        self._settling = SETTLING
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[Path | None]] = set()

    def judged(self, source: int, frame: int, *, missed: bool) -> None:
        """Take note of a frame that was answered, or dropped for being late."""
        self._settling -= 1
        if self._offending is not None:
            self._still_to_come -= 1
            if self._still_to_come <= 0:
                self._write_of_the_miss()
        elif missed and self._settling < 0 and self._may_write("deadline_missed"):
            self._offending = (source, frame)
            self._still_to_come = FOLLOWING
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FOLLOWING_S, self._write_of_the_miss)

    def worker_died(self, how: str) -> None:
        """Write what the worker had in hand when it ended; `how` says how it did."""
        self._write_of_the_miss()
        self._settling = SETTLING
        if self._may_write("worker_died"):
            self.write("worker_died", how=how)

    async def close(self) -> None:
        """Write what is still to be written: the pipeline ends."""
        self._write_of_the_miss()
        await asyncio.gather(*self._writing)

    def _write_of_the_miss(self) -> None:
        offending, self._offending = self._offending, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if offending is not None:
            self.write("deadline_missed", offending=offending)

    def _may_write(self, why: str) -> bool:
        now = time.monotonic()
        if now < self._quiet_until[why]:
            return False
        self._quiet_until[why] = now + self._archive.bounds.min_interval_s
        return True

    def write(
        self, why: Why = "asked_for", *, offending: Key | None = None, how: str = ""
    ) -> asyncio.Task[Path | None] | None:
        """Write a trace of what the ring holds now, where it holds anything.

        The task that is returned writes it, and has its path, or None where it could not.
        """
        if self._keeper.ring is None or not self._archive.bounds.keep:
            return None
        recording = flight.read(self._keeper.ring)
        if why == "worker_died":
            hand = furthest(recording.hands)
            offending = (hand.source, hand.number) if hand else None
        elif recording.hands:
            recording = recording._replace(hands=[])  # of no interest while it lives
        if not recording.frames and offending is None:
            return None
        task = asyncio.get_running_loop().create_task(
            self._write(recording, self._facts(), why, offending, how)
        )
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _write(
        self, recording: Recording, facts: Facts, why: Why, offending: Key | None, how: str
    ) -> Path | None:
        oldest_ns = min((frame.captured_ns for frame in recording.frames), default=facts.end_ns)
        felt = self._archive.sensors.since(oldest_ns)
        stories: list[Story] = []

        def make() -> tuple[list[Any], Story]:
            story = tell(recording, facts, felt, why=why, offending=offending, how=how)
            stories.append(story)
            return trace_events(recording, facts, felt, offending), story

        stem = f"{facts.pipeline}-{why.replace('_', '-')}"
        path = await self._archive.put(stem, make)
        if path is None:
            return None
        (story,) = stories
        row = None if story.offending is None else story.frames[story.offending]
        self._tell(
            "trace_written",
            story.sentence,
            level=EVENT_LEVEL.get(why, logging.WARNING),
            file=str(path),
            why=why,
            frame=row and row.frame,
            source=row and row.source,
            causes=story.causes,
        )
        return path
