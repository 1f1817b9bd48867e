"""Where the loop's threads meet: the frames that wait, and whether the engine is idle."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.geometry import NO_PICTURE, Geometry
from edge.sources.base import Grabbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge.sources.base import ModelInput
    from edge.worker.cache import Hit
    from edge.worker.prepare import Prepared
    from edge.worker.schedule import Next, Schedule

NOTHING = Grabbed(-1, 0)


@dataclass(slots=True, eq=False)
class Slot:
    """A tensor that is written again and again, and the frame it holds at the moment.

    The times are monotonic nanoseconds at the end of each stage.
    """

    tensor: NDArray[Any]
    way: Prepared
    """What the tensor is made for, and what will run it."""
    source: int = 0
    grabbed: Grabbed = NOTHING
    frame: int = -1
    """Its number within its source, over all workers of the pipeline."""
    geometry: Geometry = NO_PICTURE
    """Where the tensor lies in the frame."""
    captured_ns: int = 0
    retrieved_ns: int = 0
    prepared_ns: int = 0
    unpacking_ns: int = 0
    """How long the source took to make pixels of what it had."""
    due_ns: int = 0
    """Its place in the queue, see `Schedule`."""
    taken_ns: int = 0
    inferred_ns: int = 0
    captor: int = 0
    """The thread that prepared it, as the recorder numbers them."""
    runner: int = 0
    """The thread that ran it."""
    mark: int = 0
    """Where the recorder's ring has the stage of the thread that has it in hand."""
    batch: int = 1
    outputs: list[NDArray[Any]] = field(default_factory=list)
    hit: Hit | None = None
    picture: NDArray[Any] | None = None
    """A copy of the frame, where somebody asked for one."""
    asked: Any = None
    """What the cache knows the tensor by."""
    shadow: int = -1
    """Revision of the model in shadow that is to answer the frame as well; -1 where none is."""
    pixels: NDArray[Any] | ModelInput | None = None
    """The frame itself, where that model takes another input."""
    retrieval: int = -1
    """How many its source had retrieved by then, in whose memory it is; -1 where it is a copy."""


class Mailbox:
    """Slots go round: they are written, lie here, are in the forward pass.

    A frame that is ready while the engine is idle does not come to lie here: whoever offers
    it runs it, and no frame waits for a thread to wake up. Only behind a forward pass under
    way does it wait, for the thread that makes that pass, and the newest frame wins. That thread
    waits for frames only where several are to share a forward pass.
    """

    def __init__(
        self, schedule: Schedule[Slot], coming: Callable[[], Sequence[int | None]]
    ) -> None:
        """`coming` tells when the next frame of each source falls due; None: nobody knows."""
        self._schedule = schedule
        self._coming = coming
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self._rooms = [threading.Lock() for _ in schedule.replaced]  # bells, not Conditions:
        self._arrival = threading.Lock()  # these take two more locks a wait
        self.idle = True
        """Whether no forward pass is under way, nor a batch for one being gathered."""
        self.ended = False
        """Set by who knows that no more frames come: nobody waits for them any longer."""

    @property
    def replaced(self) -> list[int]:
        """How many frames of each source a newer one replaced."""
        return list(self._schedule.replaced)

    @property
    def waiting(self) -> int:
        """How many frames lie here."""
        return self._schedule.waiting

    def blank(self, way: Prepared) -> Slot:
        """Return a slot to write, for a thread that has a source."""
        with self._lock:  # one that is made for another way would keep that way's engine
            self._free = [slot for slot in self._free if slot.way is way]
            if self._free:
                return self._free.pop()
        return Slot(way.preprocess.buffer(), way)

    def offer(self, slot: Slot) -> bool:
        """Offer a written slot; True when the engine was idle: it is now the caller's to run.

        Otherwise the slot lies here until the engine is through. One that is replaced for it
        is counted.
        """
        with self._lock:
            replaced = self._schedule.put(slot)
            if replaced is not None:
                self._free.append(replaced)
            if self.idle:
                self.idle = False
                return True
            self._ring(self._arrival)
            return False

    def skip(self, source: int, captured_ns: int) -> None:
        """Count a frame that was not worth preparing: a newer one would have replaced it."""
        with self._lock:
            self._schedule.pass_over(source, captured_ns)

    def take(self) -> Next[Slot]:
        """Take what is to be run now, and what is too late for it, for who has the engine.

        Waits where it is worth waiting for frames that can share the forward pass.
        """
        while True:
            with self._lock:
                now_ns = time.monotonic_ns()
                until_ns = None
                if not self.ended:
                    until_ns = self._schedule.wait_until(now_ns, self._coming)
                if until_ns is None:
                    taken = self._schedule.take(now_ns, self._coming)
                    for slot in (*taken.run, *taken.late):
                        self._ring(self._rooms[slot.source])
                    return taken
            self._arrival.acquire(timeout=(until_ns - now_ns) / 1e9)

    def give_back(self) -> bool:
        """Give the engine back; True where it stays the caller's, who has to take what waits."""
        with self._lock:
            self.idle = not self._schedule.waiting
            return not self.idle

    def recycle(self, slot: Slot) -> None:
        """Give back a slot whose frame is through."""
        with self._lock:
            self._free.append(slot)

    def end(self) -> None:
        """Say that no more frames come."""
        with self._lock:
            self.ended = True
            self._ring(self._arrival)

    def make_room(self, max_size: int) -> None:
        """Let as many frames wait as make a batch of this size."""
        with self._lock:
            self._schedule.make_room(max_size)

    def ahead(self, source: int) -> int:
        """Return how many waiting frames come before one that this source gives now."""
        with self._lock:
            return self._schedule.ahead(source)

    def wait_for_room(self, source: int, timeout_s: float) -> bool:
        """Wait until there is room for a frame of a source; False when the time has passed."""
        end = time.monotonic() + timeout_s
        while self._schedule.waits(source) >= self._schedule.room:
            if not self._rooms[source].acquire(timeout=max(end - time.monotonic(), 0)):
                return False
        return True

    @staticmethod
    def _ring(bell: threading.Lock) -> None:
        """Wake the one that waits for a bell, or let it not wait at all. With the lock held."""
        if bell.locked():
            bell.release()
