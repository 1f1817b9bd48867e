"""Keeps one pipeline's worker running: starts it, hears it, replaces it when it dies or stalls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

from edge.supervisor.in_hand import InHand
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import WorkerProcess, how_it_ended
from edge.wire import Accepted, Beat, Began, Done, Ended, Failed, Late, Note, Ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from mmap import mmap

    from edge.config.pipeline import Pipeline
    from edge.supervisor.rungs import Rungs
    from edge.wire import Accompany, Change, Look, Record

RETRY_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
HEALTHY_S = 10.0  # a worker that lived so long is restarted at once again
START_LIMIT_S = 120.0  # loading a large model on a slow card
ACCELERATED_START_LIMIT_S = 45.0  # a probe has loaded it a moment ago
SILENT_LIMIT_S = 2.0  # a worker says every half second that it lives
STUCK_LIMIT_S = 30.0  # one forward pass
ACCELERATOR_LIMIT_S = 2.0  # one forward pass of an accelerator: there are milliseconds' worth
SLOWER_THAN_FIRST = 20  # times the first pass, which loads what the others find there
STOP_LIMIT_S = 5.0
TICK_S = 0.5
READ_AT_ONCE = 256  # records, before the others have their turn


class Keeper:
    """One pipeline and its succession of workers."""

    def __init__(
        self,
        name: str,
        options: Pipeline,
        *,
        device: str,
        max_frames: int | None,
        first_frames: list[int] | None = None,
        broker: str | None,
        before_start: Callable[[], Awaitable[Failed | None]],
        on_record: Callable[[Record], None],
        on_ended: Callable[[str], bool],
        on_died: Callable[[str, list[str], float], None],
        on_output: Callable[[str], None],
    ) -> None:
        """`on_died` hears (how, last words, seconds until the next start).

        `before_start` is awaited before each worker, and may say why there can be none now.
        `on_ended` hears how one ended, and answers True where the cause was dealt with.
        `first_frames` are the numbers that the sources go on with; 0 for all where not given.
        `broker` is what a worker is told of the broker that its frames come from; None where
        they come from elsewhere.
        """
        self.name = name
        self.options = options
        """What the next worker is started with."""
        self._rung = self._revision = 0
        self._device = device
        self._max_frames = max_frames
        self.broker = broker
        self._in_hand = InHand()
        self._before_start = before_start
        self._on_record = on_record
        self._on_ended = on_ended
        self._on_died = on_died
        self._on_output = on_output
        self._worker: WorkerProcess | None = None
        self.ring: mmap | None = None
        """The flight recorder's ring of the worker, or of the last one; None before the first."""
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._over, self._reaped = asyncio.Event(), asyncio.Event()
        self._silent_ticks = 0
        self._busy_since_ns = 0
        self._stuck_limit_s = STUCK_LIMIT_S
        self.ready = self.stuck = False
        """Whether the worker, or the last one, was ever ready, and hung in a forward pass."""
        self.ended = False
        """Whether the source has no more frames."""
        self._verdict = ""
        self._words = LastWords()
        self.restarts = -1
        self.next_frames = first_frames or [0] * len(options.all_sources)
        """Number of the frame that each source goes on with."""
        self._deadly = -1
        self.answered = 0
        self.failure: Failed | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._worker.process.pid if self._worker is not None else None

    async def run(self) -> None:
        """Keep a worker running until the source has ended or `stop` was called."""
        attempt = 0
        while await self._may_live():
            began = time.monotonic()
            how = await self._begin_and_live()
            if self.ended or self._stopping.is_set():
                return
            if self.paused:
                attempt, self.restarts = 0, self.restarts - 1
                continue
            dealt_with = self._on_ended(how)
            if dealt_with or time.monotonic() - began > HEALTHY_S:
                attempt = 0
            # What cannot work now is tried again as well, but never at once.
            attempt = max(attempt, 1) if self.failure and not dealt_with else attempt
            pause_s = RETRY_S[min(attempt, len(RETRY_S) - 1)]
            attempt += 1
            if not dealt_with:
                self._leave_out_what_kills()
            self._on_died(how, self._words.lines, pause_s)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _begin_and_live(self) -> str:
        """Start a worker, where that can be, and stay with it; return how it ended."""
        self.restarts += 1
        self.failure = None
        self.ready = self.stuck = False
        before = asyncio.ensure_future(self._before_start())
        ending = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({before, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not before.done() or self.paused:
                return "not started"
            failed = before.result()
        finally:
            before.cancel()
            ending.cancel()
        if failed is not None:
            self._words = LastWords()
            self._take(failed)
            return failed.message
        return await self._live()

    async def _may_live(self) -> bool:
        """Wait while it is paused; False when it is to end."""
        await self._wanted.wait()
        return not self._stopping.is_set()

    def _leave_out_what_kills(self) -> None:
        """Pass over a pulled frame that two workers died of; a live source has moved on anyway."""
        self._in_hand.worker_died()
        first = next(iter(self.options.all_sources.values()))
        if not first.begins_anew or not self.ready:
            return  # (of pulled sources there is one)
        deadly, self._deadly = self._deadly, self.next_frames[0]
        if deadly == self._deadly:
            details = {"frame": deadly, "file": None}
            self.next_frames[0] += 1
            self._on_record(
                Note("frame_failed", f"frame {deadly} ended two workers and is left out", details)
            )

    async def stop(self) -> None:
        """Let the worker finish its frame, then end it, by force if it takes too long."""
        self._stopping.set()
        self._wanted.set()
        await self._end_worker()

    @property
    def paused(self) -> bool:
        """Whether there shall be no worker for now."""
        return not self._wanted.is_set()

    def hold(self) -> None:
        """Start no worker until `resume`."""
        self._wanted.clear()

    async def pause(self) -> None:
        """Let the worker finish its frame and end, and start none until `resume`."""
        self.hold()
        await self._end_worker()

    def resume(self) -> None:
        """Start a worker again; a pulled source goes on where the last one was."""
        self._wanted.set()

    async def _end_worker(self) -> None:
        worker = self._worker
        if worker is None:
            return
        worker.stop()
        try:
            await asyncio.wait_for(self._over.wait(), STOP_LIMIT_S)
        except asyncio.TimeoutError:
            worker.kill()
        await self._reaped.wait()  # who begins again at once must not be taken for its death

    def next_is(self, rungs: Rungs) -> None:
        """Start the next worker where these rungs are now."""
        self.options, self._rung, self._revision = rungs.options, rungs.rung, rungs.revision
        if rungs.ready is not None:
            self._stuck_limit_s = _stuck_limit_s(rungs.ready)

    def ask(self, wish: Change | Accompany | Look) -> bool:
        """Ask the worker for another rung or model, or a picture; False when there is none."""
        if self._worker is None or not self.ready:
            return False
        try:
            self._worker.wire.send(wish)
        except ConnectionError:
            return False
        return True

    def kill(self) -> None:
        """End the worker at once; another follows."""
        if self._worker is not None:
            self._worker.kill()

    def accepted(self, frame: int) -> None:
        """Tell the worker that a frame's result is recorded, or that it will have none."""
        if self._worker is not None:
            with contextlib.suppress(ConnectionError):
                self._worker.wire.send(Accepted(frame))

    async def _live(self) -> str:
        """Start one worker and stay with it to its end; return how it ended."""
        loop = asyncio.get_running_loop()
        self._over.clear()
        self._silent_ticks, self._busy_since_ns, self._verdict = 0, 0, ""
        self._words = LastWords()
        left = None if self._max_frames is None else self._max_frames - self.answered
        worker = WorkerProcess(
            self.name,
            self.options,
            device=self._device,
            first_frames=self.next_frames,
            max_frames=left,
            rung=self._rung,
            revision=self._revision,
            broker=self.broker,
            left_out=self._in_hand.left_out,
            careful=self._in_hand.careful,
        )
        self._worker, self.ring = worker, worker.ring
        self._reaped.clear()
        loop.add_reader(worker.wire.socket, self._read_wire, worker)
        loop.add_reader(worker.output, self._read_output, worker.output)
        watch = loop.create_task(self._watch(worker))
        try:
            await self._over.wait()
            await asyncio.to_thread(_wait, worker)
            while self._read_output(worker.output):
                pass
            return self._verdict or how_it_ended(worker.process.returncode)
        finally:
            watch.cancel()
            loop.remove_reader(worker.wire.socket)
            loop.remove_reader(worker.output)
            self._worker = None
            worker.close()
            self._reaped.set()

    def _read_wire(self, worker: WorkerProcess) -> None:
        """Take in all the worker has sent; its end of the wire closes when it dies."""
        for _ in range(READ_AT_ONCE):
            try:
                record = worker.wire.receive()
            except ConnectionError:
                asyncio.get_running_loop().remove_reader(worker.wire.socket)
                self._over.set()
                return
            if record is None:
                return
            self._silent_ticks = 0
            self._take(record)

    def _take(self, record: Record) -> None:
        if isinstance(record, (Done, Late)):
            self.next_frames[record.source] = record.frame + 1
            self.answered += isinstance(record, Done)
            self._in_hand.settled(record.frame)
        elif isinstance(record, Note) and record.event == "frame_failed":
            names = list(self.options.all_sources)
            source = names.index(record.details["source"]) if "source" in record.details else 0
            self.next_frames[source] = record.details["frame"] + 1
            self._in_hand.settled(record.details["frame"])
        elif isinstance(record, Began):
            self._in_hand.began(record)
        elif isinstance(record, Beat):
            self._busy_since_ns = record.busy_since_ns
        elif isinstance(record, Ready):
            self.ready = True
            if record.revision == self._revision:
                self._stuck_limit_s = _stuck_limit_s(record)
        elif isinstance(record, Ended):
            self.ended = True
        elif isinstance(record, Failed):
            self.failure = record
        self._on_record(record)

    def _read_output(self, descriptor: int) -> bool:
        """Pass on what the worker prints, a line at a time; False at the end."""
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            data = b""
        for line in self._words.feed(data):
            self._on_output(line)
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
            return False
        return True

    async def _watch(self, worker: WorkerProcess) -> None:
        """Kill a worker that stopped answering.

        Ticks are counted, not time: when the whole machine slept, nobody is to blame.
        """
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._silent_ticks += 1
            busy_s = (time.monotonic_ns() - self._busy_since_ns) / 1e9 if self._busy_since_ns else 0
            if not self.ready and not worker.is_stopped:
                self._silent_ticks = 0  # it says nothing while it loads
            if self._silent_ticks * TICK_S > SILENT_LIMIT_S:
                self._verdict = f"killed: it stopped answering for {SILENT_LIMIT_S:g} s"
            elif not self.ready:
                limit_s = start_limit_s(self.options)
                if ticks * TICK_S > limit_s:
                    self._verdict = f"killed: not ready after {limit_s:g} s"
            elif busy_s > self._stuck_limit_s:
                self.stuck = True
                self._verdict = f"killed: one forward pass took over {self._stuck_limit_s:g} s"
            if self._verdict:
                worker.kill()
                return


def start_limit_s(options: Pipeline) -> float:
    """Return how long it may take to prepare a pipeline."""
    return ACCELERATED_START_LIMIT_S if options.accelerated else START_LIMIT_S


def _stuck_limit_s(ready: Ready) -> float:
    """Return how long a forward pass may take; an accelerator hangs sooner than a CPU is slow."""
    if not ready.accelerated:
        return STUCK_LIMIT_S
    first_s = ready.first_invoke_ms / 1e3
    return min(max(ACCELERATOR_LIMIT_S, SLOWER_THAN_FIRST * first_s), STUCK_LIMIT_S)


def _wait(worker: WorkerProcess) -> None:
    """Reap a worker whose wire has closed; one that lingers is killed."""
    try:
        worker.process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.process.wait()
