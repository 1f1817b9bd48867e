"""Writes the flight recorder's ring: what the loop did with each frame, and what it met there.

It is always on. On the frame's way it only notes which frame a thread has in hand; all else is
written after the result was told.
"""

from __future__ import annotations

import itertools
import mmap
import os
import resource
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge import flight
from edge.wire import Done

if TYPE_CHECKING:
    from collections.abc import Sized

    from edge.wire import Late
    from edge.worker.mailbox import Slot

LOOK_EVERY_NS = 250_000_000  # a look costs 20 us where caches are cold
ODD, ODD_NS = 1.5, 300_000  # times what a frame usually takes, and more: the kernel is asked why
MEMORY = 1 / 16  # weight of the newest frame in what is usual
TASKS = Path("/proc/self/task")


class Recorder:
    """The worker's end of the ring, shared by the threads of its loop.

    A frame's way through it: `capturing`, `inferring`, `done`, and `resting` when its thread has
    nothing more in hand; the stages between are put into `marks`.
    """

    def __init__(self, ring: mmap.mmap | None = None, *, backlog: Sized = ()) -> None:
        """Without a `ring` it writes where nobody reads; `backlog` waits for the supervisor."""
        self.marks = ring if ring is not None else mmap.mmap(-1, flight.SIZE)
        """The ring. A frame's stage is put down at its slot's `mark`, without a call."""
        self._backlog = backlog
        self._numbers = itertools.count()
        self._engine: list[_Schedstat] = []
        self._usual_ns = 0.0
        self._odd = False
        self._hand = _Hand(self.marks, itertools.count())
        self._collecting_since_ns = 0

    def watch_engine(self) -> None:
        """Find the threads that the engine has started by now: those Python knows nothing of."""
        ours = {str(thread.native_id) for thread in threading.enumerate()}
        tasks = [task for task in TASKS.iterdir() if task.name not in ours]
        self._engine = [_Schedstat(task) for task in tasks[: flight.ENGINE_THREADS]]

    def capturing(self, slot: Slot) -> None:
        """Note that this thread has taken a frame from its source."""
        hand = self._hand
        slot.captor, slot.mark = hand.thread, hand.mark
        flight.HAND_TAKEN.pack_into(
            self.marks, hand.at, slot.frame, flight.CAPTURE, slot.source, slot.captured_ns, 0
        )

    def inferring(self, slot: Slot, taken_ns: int) -> int:
        """Note that a frame's forward pass begins, or its batch's; return this thread's number."""
        hand = self._hand
        slot.mark = hand.mark
        flight.HAND.pack_into(
            self.marks,
            hand.at,
            slot.frame,
            flight.INFERENCE,
            slot.source,
            slot.captured_ns,
            taken_ns,
            slot.retrieved_ns,
            slot.prepared_ns,
        )
        return hand.thread

    def shadowing(self, slot: Slot, began_ns: int) -> None:
        """Note that the model in shadow begins to answer a frame that has its result."""
        hand, stage = self._hand, flight.SHADOW
        at = (slot.frame, stage, slot.source, began_ns)
        flight.HAND.pack_into(self.marks, hand.at, *at, 0, 0, 0)

    def shadowed(self, slot: Slot, began_ns: int, ended_ns: int) -> None:
        """Write down that it has."""
        number = next(self._numbers)
        flight.SHADOW_PASS.pack_into(
            self.marks,
            flight.RECORDS_AT + number % flight.CAPACITY * flight.RECORD_BYTES,
            number + 1,
            flight.IS_SHADOW_PASS,
            self._hand.thread,
            slot.source,
            slot.frame,
            began_ns,
            ended_ns,
            number + 1,
        )

    def rehearse(self) -> None:
        """Go through what stands on a frame's way, so that it is in the caches for the next."""
        hand = self._hand
        flight.HAND_TAKEN.pack_into(self.marks, hand.at, 0, flight.RESTING, 0, 0, 0)

    def done(self, record: Done | Late, captor: int, runner: int, waiting: int) -> None:
        """Write down a frame whose record was told; `captor` and `runner` are its threads.

        `waiting` is how many frames lie in the mailbox.
        """
        if isinstance(record, Done):
            what = flight.CACHED if record.cached else flight.ANSWERED
            batch, way = record.batch, record[:7]
        else:
            what, batch, way = flight.LATE, 1, (*record[:5], record[4], record[4])
        took_ns = way[-1] - way[1]
        if took_ns > ODD * self._usual_ns + ODD_NS:
            self._odd = True
        self._usual_ns += (took_ns - self._usual_ns) * MEMORY
        number = next(self._numbers)
        flight.FRAME.pack_into(
            self.marks,
            flight.RECORDS_AT + number % flight.CAPACITY * flight.RECORD_BYTES,
            number + 1,
            flight.IS_FRAME,
            what,
            record.source,
            record.rung,
            batch,
            captor,
            runner,
            waiting,
            len(self._backlog),
            record.revision & 0xFF,
            *way,
            number + 1,
        )

    def resting(self) -> None:
        """Note that this thread has no frame in hand; look what the kernel has counted for it.

        It looks after a frame that took long, and else now and then, for looking is dear.
        """
        hand = self._hand
        self.marks[hand.mark] = flight.RESTING
        now_ns = time.monotonic_ns()
        if now_ns - hand.looked_ns < LOOK_EVERY_NS and not self._odd:
            return
        self._odd = False
        hand.looked_ns = now_ns
        used = resource.getrusage(resource.RUSAGE_THREAD)
        engine = [thread.waited_ns() for thread in self._engine]
        number = next(self._numbers)
        flight.SAMPLE.pack_into(
            self.marks,
            flight.RECORDS_AT + number % flight.CAPACITY * flight.RECORD_BYTES,
            number + 1,
            flight.IS_SAMPLE,
            hand.thread,
            len(engine),
            now_ns,
            hand.schedstat.waited_ns(),
            used.ru_nivcsw,
            used.ru_majflt,
            used.ru_minflt,
            *engine,
            *(0,) * (flight.ENGINE_THREADS - len(engine)),
            number + 1,
        )

    def collecting(self, phase: str, info: dict[str, int]) -> None:
        """Note when Python collects garbage, as one of `gc.callbacks`."""
        now_ns = time.monotonic_ns()
        if phase == "start":
            self._collecting_since_ns = now_ns
            return
        number = next(self._numbers)
        flight.PAUSE.pack_into(
            self.marks,
            flight.RECORDS_AT + number % flight.CAPACITY * flight.RECORD_BYTES,
            number + 1,
            flight.IS_PAUSE,
            info["generation"],
            self._collecting_since_ns,
            now_ns,
            number + 1,
        )


class _Hand(threading.local):
    """A thread's place in the ring; each thread that touches it gets one of its own."""

    def __init__(self, ring: mmap.mmap, threads: itertools.count[int]) -> None:
        self.thread = min(next(threads), flight.HANDS - 1)
        self.at = flight.HANDS_AT + self.thread * flight.HAND_BYTES
        self.mark = self.at + flight.STAGE_AT
        native_id = threading.get_native_id()
        self.looked_ns = 0
        self.schedstat = _Schedstat(TASKS / str(native_id))
        flight.NATIVE_ID.pack_into(ring, self.at + flight.NATIVE_ID_AT, native_id)


class _Schedstat:
    """What the kernel counts of a thread, kept open.

    See "Scheduler Statistics", /proc/PID/schedstat, in the kernel's documentation.
    """

    def __init__(self, task: Path) -> None:
        """`task` is the thread's folder in /proc."""
        try:
            self._descriptor = os.open(task / "schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has ended, or this kernel does not count
            self._descriptor = flight.UNKNOWN

    def __del__(self) -> None:
        if self._descriptor != flight.UNKNOWN:
            os.close(self._descriptor)

    def waited_ns(self) -> int:
        """Return how long it has waited for a core, the second of the file's three numbers."""
        try:
            return int(os.pread(self._descriptor, 64, 0).split()[1])
        except (OSError, IndexError):
            return flight.UNKNOWN
