"""The second half of a frame's way: forward pass, decode, the result handed on."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from edge.flight import DECODE
from edge.wire import Done, Late
from edge.worker.cache import Kept
from edge.worker.lens import Lens
from edge.worker.recorder import Recorder
from edge.worker.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.decoders.base import Prediction
    from edge.wire import Record
    from edge.worker.cache import ResultCache
    from edge.worker.mailbox import Mailbox, Slot

COLLECT_EVERY = 256  # frames between two garbage collections, which are made between frames


class InferenceSide:
    """Runs the forward pass, decodes, hands the result on; for one thread at a time."""

    def __init__(
        self,
        mailbox: Mailbox,
        tell: Callable[[Record], None],
        *,
        live: bool,
        max_frames: int | None,
        wanted: Callable[[], int],
        recorder: Recorder | None = None,
    ) -> None:
        """`wanted` tells by when the engine has to be free for the next frame.

        Without a `recorder` it keeps one of its own, which nobody reads.
        """
        self.recorder = recorder if recorder is not None else Recorder()
        self.lens = Lens(tell)
        self.shadow = Shadow(tell, self.recorder, live=live)
        self._wanted = wanted
        self._to_shadow: list[tuple[Slot, list[Prediction]]] = []
        self._mailbox = mailbox
        self._tell = tell
        self._live = live
        self._left = max_frames
        self._unfinished: deque[Slot] = deque()
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
            run, late = self._mailbox.take()
            if late:
                self._drop(late)
            more = self._run(run) if run else self._mailbox.give_back()
            self.recorder.resting()

    def _drop(self, slots: list[Slot]) -> None:
        """Tell of frames that are too late to be worth a forward pass."""
        taken_ns = time.monotonic_ns()
        with self._finishing:
            for slot in slots:
                slot.runner = self.recorder.inferring(slot, taken_ns)
                waited = (slot.captured_ns, slot.retrieved_ns, slot.prepared_ns, taken_ns)
                way = slot.way
                at = (slot.source, way.rung, way.accelerated, way.revision)
                late = Late(slot.frame, *waited, *at)
                self._tell(late)
                self.recorder.done(late, slot.captor, slot.runner, self._mailbox.waiting)
                self._mailbox.recycle(slot)

    def _run(self, slots: list[Slot]) -> bool:
        """Run frames to their results in one forward pass; return whether more wait."""
        way = slots[0].way
        if self._left is not None:
            slots = slots[: self._left]
        size = len(slots)
        taken_ns = time.monotonic_ns()
        self._busy = (taken_ns, way.costs.least(size))
        fresh = slots
        if way.cache is not None:  # the lookup is part of the wait for the forward pass
            fresh = _not_known(slots, way.cache)
            taken_ns = time.monotonic_ns()
        inferred_ns = taken_ns
        runner = self.recorder.inferring(slots[0], taken_ns)
        if fresh:
            outputs = way.run([slot.tensor for slot in fresh])
            inferred_ns = time.monotonic_ns()
            self.recorder.marks[slots[0].mark] = DECODE
            for slot, found in zip(fresh, outputs, strict=True):
                slot.outputs = found
        self._busy = None
        for slot in slots:
            slot.taken_ns, slot.batch, slot.runner = taken_ns, len(fresh), runner
            slot.inferred_ns = inferred_ns if slot.hit is None else taken_ns
        # The next frames' results must not overtake these: the lock is taken before the
        # engine is given up.
        with self._finishing:
            self._unfinished += slots
            if self._left is not None:
                self._left -= size
                if not self._left:
                    self.stopping.set()
            # The engine does not wait for results of a pulled source: its other thread has time.
            # But a cache has to know one result before it is asked for the next, and a model in
            # shadow answers after it has left.
            free_ns = inferred_ns
            if self._live or way.cache is not None or self.shadow.way is not None:
                self._finish()
                free_ns = time.monotonic_ns()
            if fresh is slots:
                way.costs.take(size, free_ns - taken_ns)
            if self._to_shadow:
                self._run_in_shadow()
            more = self._mailbox.give_back()
            if not more or self.stopping.is_set():
                self._finish()
        return more

    def _run_in_shadow(self) -> None:
        """Have the other model answer what was answered, as far as there is time."""
        chosen, self._to_shadow = self._to_shadow, []
        shadow, way = self.shadow, self.shadow.way
        for slot, predictions in chosen:
            if way is not None and slot.shadow == way.revision:
                now_ns = time.monotonic_ns()
                free = not (self._live and self._mailbox.waiting)
                if free and shadow.has_time(now_ns, self._wanted()):
                    self._busy = (now_ns, shadow.least_ns)
                    shadow.run(way, slot, predictions)
                    self._busy = None
                else:
                    shadow.skip()
            self._mailbox.recycle(slot)

    def finish(self) -> None:
        """Decode and hand on what forward passes have left to be finished."""
        if self._unfinished:
            with self._finishing:
                self._finish()

    def _finish(self) -> None:
        while self._unfinished:
            slot = self._unfinished.popleft()
            hit, way = slot.hit, slot.way
            if hit is None:
                predictions, told = way.decode(slot.outputs, slot.geometry), None
                decoded_ns, batch = time.monotonic_ns(), slot.batch
                if way.cache is not None:
                    kept = Kept(
                        slot.frame, slot.captured_ns, predictions, slot.source, slot.geometry
                    )
                    way.cache.keep(slot.asked, kept)
            else:
                predictions, told = hit.kept.predictions, hit.told
                decoded_ns, batch = slot.inferred_ns, 1
            done = Done(
                slot.frame,
                slot.captured_ns,
                slot.retrieved_ns,
                slot.prepared_ns,
                slot.taken_ns,
                slot.inferred_ns,
                decoded_ns,
                slot.grabbed.name,
                slot.grabbed.truth,
                predictions,
                told,
                slot.source,
                batch,
                way.rung,
                slot.grabbed.asked,
                slot.unpacking_ns if slot.grabbed.asked is not None else 0,
                way.accelerated,
                way.revision,
            )
            self._tell(done)
            if slot.picture is not None:
                self.lens.answered(slot, done)
            self.recorder.done(done, slot.captor, slot.runner, self._mailbox.waiting)
            if slot.shadow >= 0 and hit is None:
                self._to_shadow.append((slot, predictions))
            else:
                self._mailbox.recycle(slot)
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


def _not_known(slots: list[Slot], cache: ResultCache) -> list[Slot]:
    """Ask the cache for each frame; return those that it has no result for."""
    for slot in slots:
        slot.hit = cache.find(slot.tensor, slot.captured_ns)
        if slot.hit is not None and slot.hit.kept.geometry != slot.geometry:
            slot.hit = None
        slot.asked = cache.asked
    return slots if all(slot.hit is None for slot in slots) else [s for s in slots if s.hit is None]
