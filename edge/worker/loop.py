"""The frame's way, from top to bottom: capture, preprocess, forward pass, decode.

There is one thread more than sources, and each goes the whole way. Whoever has a source takes a
frame, makes the model's input of it and, where the engine is idle, runs it itself, while the
spare thread takes over the source. So a frame never waits for a thread to wake up. While a
forward pass is under way, the next frames are prepared on other cores and wait in the mailbox.
Nothing here waits for the supervisor, unless the source is pulled.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge.wire import Beat
from edge.worker.capture import IDLE_S, NOWHERE, CaptureSide
from edge.worker.inference import InferenceSide
from edge.worker.mailbox import Mailbox, Slot
from edge.worker.schedule import NEVER_NS, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.pipeline import Pipeline
    from edge.sources.base import Surroundings
    from edge.wire import Record
    from edge.worker.prepare import Prepared
    from edge.worker.recorder import Recorder


class Loop:
    """A pipeline at work: its sources, the engine they share, the threads between them."""

    def __init__(
        self,
        options: Pipeline,
        way: Prepared,
        tell: Callable[[Record], None],
        *,
        first_frames: Sequence[int] = (),
        max_frames: int | None = None,
        recorder: Recorder | None = None,
        surroundings: Surroundings = NOWHERE,
    ) -> None:
        """`first_frames` are the numbers that the sources go on with; 0 where not given."""
        sources = options.all_sources
        live = options.live
        schedule: Schedule[Slot] = Schedule(
            [round(options.deadline_of(each) * 1e6) if live else NEVER_NS for each in sources],
            drop_late=live and options.on_late == "drop",
            max_size=way.batch,  # of a model that runs one at a time only the newest waits
            max_wait_ns=round(options.batch.max_wait_ms * 1e6),
        )
        self.mailbox = Mailbox(schedule, self._coming)
        self.inference = InferenceSide(
            self.mailbox,
            tell,
            live=live,
            max_frames=max_frames,
            wanted=self._engine_wanted,
            recorder=recorder,
        )
        alone = len(sources) == 1
        numbers = [*first_frames, *[0] * len(sources)]
        self.captures = [
            CaptureSide(
                source,
                way,
                self.mailbox,
                self.inference,
                tell,
                number=place,
                name="" if alone else name,
                alone=alone,
                deadline_ms=options.deadline_of(name),
                first_frame=numbers[place],
                surroundings=surroundings,
            )
            for place, (name, source) in enumerate(sources.items())
        ]
        self._free: queue.SimpleQueue[CaptureSide | None] = queue.SimpleQueue()
        self._left = len(sources)
        self._ending = threading.Lock()
        self._errors: list[Exception] = []

    def run(self) -> None:
        """Run all threads to the end. Raises what ended any of them, where it was an error."""
        threads = [
            threading.Thread(target=self._go_the_way, name=f"frames-{number}", daemon=True)
            for number in range(1, len(self.captures) + 2)
        ]
        for capture in self.captures:
            self._free.put(capture)
        for thread in threads:
            thread.start()
        stopping = self.inference.stopping
        for thread in threads:
            while thread.is_alive() and not stopping.is_set():
                thread.join(IDLE_S)
        for thread in threads:
            thread.join(IDLE_S * 4)  # a camera may hang in its driver: it dies with us
        self.inference.finish()
        self._close_the_free()
        for error in self._errors:
            if isinstance(error, EdgeError):
                raise error
            raise RuntimeError("a thread of the loop failed") from error

    def stop(self) -> None:
        """Take no further frame, and let `run` come to its end."""
        self.inference.stopping.set()
        self.mailbox.end()

    def change(self, way: Prepared) -> None:
        """Go another way from the next frames on; those under way are finished as they began."""
        self.mailbox.make_room(way.batch)
        sources = way.options.all_sources.values()
        for capture, source in zip(self.captures, sources, strict=True):
            capture.change(way, source)

    def beat(self) -> Beat:
        """Return the sign of life."""
        return Beat(
            self.mailbox.replaced,
            [capture.lost for capture in self.captures],
            [capture.skipped for capture in self.captures],
            self.inference.busy_since_ns or max(each.rehearsing_since_ns for each in self.captures),
            self.inference.shadow.skipped,
        )

    def _go_the_way(self) -> None:
        stopping = self.inference.stopping
        try:
            while not stopping.is_set():
                try:
                    capture = self._free.get(timeout=IDLE_S)
                except queue.Empty:
                    continue  # all are waited for, or hang in their drivers
                if capture is None:
                    return
                ended = False
                try:
                    # Where there is time to come back, waking the other would only disturb.
                    while not (ended := capture.next() is None) and capture.has_time():
                        self.inference.answer()
                finally:
                    if not ended:
                        self._free.put(capture)
                if ended:
                    self._one_ended()
                else:
                    self.inference.answer()
        except Exception as error:  # noqa: BLE001  raised again by `run`
            self._errors.append(error)
            self.stop()

    def _one_ended(self) -> None:
        """Take note that a source has no more frames; after the last all threads go home."""
        with self._ending:
            self._left -= 1
        if not self._left:
            self.mailbox.end()
            for _ in range(len(self.captures) + 1):
                self._free.put(None)

    def _close_the_free(self) -> None:
        """Let go of the sources, but of none that a thread still has and hangs in its driver."""
        while not self._free.empty():
            capture = self._free.get()
            if capture is not None:
                capture.close()

    def _engine_wanted(self) -> int:
        return min(capture.engine_wanted_ns() for capture in self.captures)

    def _coming(self) -> list[int | None]:
        return [capture.source.due_ns() for capture in self.captures]
