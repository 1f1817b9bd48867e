"""The second half of a frame's way: forward pass, decode, the result handed on."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.wire import Done, Late
from edge.worker.cache import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.wire import Record
    from edge.worker.cache import Hit
    from edge.worker.mailbox import Mailbox, Slot
    from edge.worker.prepare import Prepared

COLLECT_EVERY = 256  # frames between two garbage collections, which are made between frames


class Ran(NamedTuple):
    """A frame whose forward pass has ended, or was not needed."""

    frame: int
    times_ns: tuple[int, int, int, int, int]
    """As in `Done`, from captured to inferred."""
    name: str
    truth: str | None
    source: int
    batch: int
    way: Prepared
    outputs: list[NDArray[Any]]
    hit: Hit | None
    key: Any
    """What the cache keeps the result under."""


class InferenceSide:
    """Runs the forward pass, decodes, hands the result on; for one thread at a time."""

    def __init__(
        self,
        mailbox: Mailbox,
        tell: Callable[[Record], None],
        *,
        live: bool,
        max_frames: int | None,
    ) -> None:
        self._mailbox = mailbox
        self._tell = tell
        self._live = live
        self._left = max_frames
        self._unfinished: deque[Ran] = deque()
        self._finishing = threading.Lock()
        self._since_collection = 0
        self._busy: tuple[int, int] | None = None
        self.stopping = threading.Event()
        """Set by whoever wants the loop to end: no further frame is taken or run."""
        if max_frames == 0:
            self.stopping.set()

    def answer(self) -> None:
        """Run what waits, and then all that comes to wait behind it, until the engine is idle."""
        more = True
        while more and not self.stopping.is_set():
            taken = self._mailbox.take()
            if taken.late:
                self._drop(taken.late)
            more = self._run(taken.run) if taken.run else self._mailbox.give_back(())

    def _drop(self, slots: list[Slot]) -> None:
        """Tell of frames that are too late to be worth a forward pass."""
        taken_ns = time.monotonic_ns()
        with self._finishing:
            for slot in slots:
                waited = (slot.captured_ns, slot.retrieved_ns, slot.prepared_ns, taken_ns)
                self._tell(Late(slot.frame, *waited, slot.source, slot.way.rung))
            self._mailbox.recycle(slots)

    def _run(self, slots: list[Slot]) -> bool:
        """Run frames to their results in one forward pass; return whether more wait."""
        way, cache = slots[0].way, slots[0].way.cache
        slots = slots[: self._left]
        size = len(slots)
        taken_ns = time.monotonic_ns()
        self._busy = (taken_ns, way.costs.least(size))
        hits: list[Hit | None] = [None] * size
        keys: list[Any] = [None] * size
        if cache is not None:  # the lookup is part of the wait for the forward pass
            for place, slot in enumerate(slots):
                hits[place] = cache.find(slot.tensor, slot.captured_ns)
                keys[place] = cache.asked
            taken_ns = time.monotonic_ns()
        tensors = [slot.tensor for slot, hit in zip(slots, hits, strict=True) if hit is None]
        outputs = iter(way.run(tensors) if tensors else ())
        inferred_ns = time.monotonic_ns() if tensors else taken_ns
        self._busy = None
        ran = []
        for slot, hit, key in zip(slots, hits, keys, strict=True):
            prepared = (slot.captured_ns, slot.retrieved_ns, slot.prepared_ns)
            times = (*prepared, taken_ns, inferred_ns if hit is None else taken_ns)
            grabbed, batch = slot.grabbed, len(tensors) if hit is None else 1
            named = (slot.frame, times, grabbed.name, grabbed.truth, slot.source, batch, way)
            ran.append(Ran(*named, next(outputs) if hit is None else [], hit, key))
        # The next frames' results must not overtake these: the lock is taken before the
        # engine is given up.
        with self._finishing:
            self._unfinished += ran
            if self._left is not None:
                self._left -= size
                if not self._left:
                    self.stopping.set()
            # The engine does not wait for results of a pulled source: its other thread has time.
            # But a cache has to know one result before it is asked for the next.
            if self._live or cache is not None:
                self._finish()
            if len(tensors) == size:
                way.costs.take(size, time.monotonic_ns() - taken_ns)
            more = self._mailbox.give_back(slots)
            if not more or self.stopping.is_set():
                self._finish()
        return more

    def finish(self) -> None:
        """Decode and hand on what forward passes have left to be finished."""
        if self._unfinished:
            with self._finishing:
                self._finish()

    def _finish(self) -> None:
        while self._unfinished:
            ran = self._unfinished.popleft()
            frame, times, name, truth, source, batch, way, outputs, hit, key = ran
            told = None
            if hit is not None:
                decoded_ns, predictions, told = times[-1], hit.kept.predictions, hit.told
            else:
                predictions = way.decode(outputs)
                decoded_ns = time.monotonic_ns()
            where = (source, batch, way.rung)
            self._tell(Done(frame, *times, decoded_ns, name, truth, predictions, told, *where))
            if hit is None and way.cache is not None:
                way.cache.keep(key, Kept(frame, times[0], predictions))
            self._since_collection += 1
        if self._since_collection >= COLLECT_EVERY:
            self._since_collection = 0
            gc.collect()

    @property
    def busy_since_ns(self) -> int:
        """When the forward pass under way began; 0 when there is none."""
        busy = self._busy
        return busy[0] if busy is not None else 0

    def free_ns(self) -> int | None:
        """Return when the engine will be free at the earliest; None where it is, or unknown."""
        busy = self._busy
        return busy[0] + busy[1] if busy is not None and busy[1] else None
