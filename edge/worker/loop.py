"""The frame's way, from top to bottom: capture, preprocess, mailbox, forward pass, decode.

Two threads, a mailbox between them. `CaptureSide` takes frames and makes the model's input
while the previous forward pass runs on another core; `InferenceSide` does nothing but forward
passes and decoding. Nothing here waits for the supervisor, unless the source is pulled.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from typing import TYPE_CHECKING

from edge.errors import EdgeError, FrameError, SourceError
from edge.wire import Done, Late, Note
from edge.worker.cache import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.pipeline import Pipeline
    from edge.sources.base import Source
    from edge.wire import Record
    from edge.worker.mailbox import Mailbox, Slot
    from edge.worker.prepare import Prepared

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
COLLECT_EVERY = 256  # frames between two garbage collections, which are made between frames
IDLE_S = 0.5


class CaptureSide(threading.Thread):
    """Takes frames from the source, prepares the model's input, lays it into the mailbox."""

    def __init__(
        self,
        options: Pipeline,
        prepared: Prepared,
        mailbox: Mailbox,
        tell: Callable[[Record], None],
        *,
        first_frame: int,
    ) -> None:
        super().__init__(name="capture", daemon=True)
        self._live = options.source.live
        self._preprocess = prepared.preprocess
        self._mailbox = mailbox
        self._slot = mailbox.first()
        self._tell = tell
        # A live source is somewhere else by now; a pulled one goes on where the last worker was.
        self._offset = first_frame if self._live else 0
        self._pass_over = 0 if self._live else first_frame
        self._retry_s = FIRST_RETRY_S
        self._why_lost = ""
        self.source: Source = options.source.make()
        self.stopping = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        """Deliver frames until the source ends or `stopping` is set."""
        try:
            while not self.stopping.is_set():
                try:
                    self.source.open()
                    self._deliver()
                    break
                except SourceError as error:
                    if not self._live:
                        raise
                    self._lost(error)
                finally:
                    self.source.close()
                # A fleet that lost its network must not come back in one stroke.
                self.stopping.wait(self._retry_s * random.uniform(0.5, 1.0))  # noqa: S311
                self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        except Exception as error:  # noqa: BLE001  raised again by the inference side
            self.error = error
        finally:
            self._mailbox.close()

    def _lost(self, error: SourceError) -> None:
        """Tell why there are no frames, once for each reason."""
        if str(error) != self._why_lost:
            self._why_lost = str(error)
            self._tell(Note("source_lost", self._why_lost, {}))

    def _back(self) -> None:
        """Take note that there are frames; tell it where they were missed."""
        self._retry_s = FIRST_RETRY_S
        if self._why_lost:
            self._why_lost = ""
            self._tell(Note("source_back", "the source delivers again", {}))

    def _deliver(self) -> None:
        """Bring frames to the mailbox until the source has no more."""
        source, mailbox, stopping = self.source, self._mailbox, self.stopping
        while True:
            if not self._live and not self._pass_over:
                while not mailbox.wait_for_room(IDLE_S) and not stopping.is_set():
                    pass
            grabbed = source.grab(stopping)
            if grabbed is None:
                return
            if self._pass_over:
                self._pass_over -= 1
                continue
            self._back()
            slot = self._slot
            slot.grabbed, slot.frame = grabbed, grabbed.number + self._offset
            try:
                frame = source.retrieve()
                slot.retrieved_ns = time.monotonic_ns()
                self._preprocess(frame, slot.tensor)
                slot.prepared_ns = time.monotonic_ns()
            except FrameError as error:
                where = "" if grabbed.name in str(error) else f"{grabbed.name}: "
                details = {"frame": slot.frame, "file": grabbed.name or None}
                self._tell(Note("frame_failed", f"{where}{error}", details))
                continue
            self._slot = mailbox.post(slot)


class InferenceSide:
    """Takes the newest input, runs the forward pass, decodes, hands the result on."""

    def __init__(
        self,
        options: Pipeline,
        prepared: Prepared,
        mailbox: Mailbox,
        tell: Callable[[Record], None],
        *,
        max_frames: int | None,
    ) -> None:
        self._run = prepared.engine.run
        self._decode = prepared.decode
        self._cache = prepared.cache
        self._mailbox = mailbox
        self._tell = tell
        self._max_frames = max_frames
        self._deadline_ns = round(options.deadline_ms * 1e6)
        self._drop_late = options.on_late == "drop" and options.source.live
        self.busy_since_ns = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        """Answer frames until there are no more, or enough, or `stopping` is set."""
        answered = 0
        while answered != self._max_frames and not self.stopping.is_set():
            slot = self._mailbox.take(IDLE_S)
            if slot is None:
                if self._mailbox.ended:
                    return
                continue
            if self._answer(slot):
                answered += 1
                if answered % COLLECT_EVERY == 0:
                    gc.collect()

    def _answer(self, slot: Slot) -> bool:
        """Run one frame to its result; False when it was too late to be worth it."""
        grabbed = slot.grabbed
        captured_ns = grabbed.captured_ns
        taken_ns = self.busy_since_ns = time.monotonic_ns()
        if self._drop_late and taken_ns > captured_ns + self._deadline_ns:
            times = (captured_ns, slot.retrieved_ns, slot.prepared_ns, taken_ns)
            self.busy_since_ns = 0
            self._tell(Late(slot.frame, *times))
            return False
        hit = None
        if self._cache is not None:  # the lookup is part of the wait for the forward pass
            hit = self._cache.find(slot.tensor, captured_ns)
            taken_ns = time.monotonic_ns()
        if hit is None:
            outputs = self._run(slot.tensor)
            inferred_ns = time.monotonic_ns()
            predictions = self._decode(outputs)
            decoded_ns = time.monotonic_ns()
        else:
            inferred_ns = decoded_ns = taken_ns
            predictions = hit.kept.predictions
        self.busy_since_ns = 0
        self._tell(
            Done(
                slot.frame,
                captured_ns,
                slot.retrieved_ns,
                slot.prepared_ns,
                taken_ns,
                inferred_ns,
                decoded_ns,
                grabbed.name,
                grabbed.truth,
                predictions,
                hit.told if hit is not None else None,
            )
        )
        if self._cache is not None and hit is None:
            self._cache.keep(Kept(slot.frame, captured_ns, predictions))
        return True


def run_pipeline(capture: CaptureSide, inference: InferenceSide) -> None:
    """Run both sides to the end. Raises what ended either of them, where it was an error."""
    capture.start()
    try:
        inference.run()
    finally:
        capture.stopping.set()
        capture.join(timeout=IDLE_S * 4)  # a camera may hang in its driver: it dies with us
    if capture.error is not None:
        if isinstance(capture.error, EdgeError):
            raise capture.error
        raise RuntimeError("the capture thread failed") from capture.error
