"""The frame's way, from top to bottom: capture, preprocess, forward pass, decode.

Two threads share it, and each goes the whole way. One of them has the source: it takes a frame,
makes the model's input of it and, where the engine is idle, runs it itself, while the other
takes over the source. So a frame never waits for a thread to wake up. While a forward pass is
under way, the next frame is prepared on another core and waits in the mailbox. Nothing here
waits for the supervisor, unless the source is pulled.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.errors import EdgeError, FrameError, SourceError
from edge.flight import DECODE, PREPROCESS
from edge.sources.pacing import sleep_until
from edge.wire import Done, Late, Note
from edge.worker.cache import Kept
from edge.worker.recorder import Recorder
from edge.worker.rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from edge.config.pipeline import Pipeline
    from edge.sources.base import Source
    from edge.wire import Record
    from edge.worker.cache import Hit
    from edge.worker.mailbox import Mailbox, Slot
    from edge.worker.prepare import Prepared

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
COLLECT_EVERY = 256  # frames between two garbage collections, which are made between frames
IDLE_S = 0.5
EARLY_NS = 300_000  # a pulled frame is ready so long before the engine is
HANDOVER_NS = 1_000_000  # a thread is awake by then
KNOWN_PASSES = 8  # forward passes that the length of the next is told from
MEMORY = 1 / 8  # weight of the newest frame in what preparing usually takes


class Ran(NamedTuple):
    """A frame whose forward pass has ended, or was not needed."""

    frame: int
    times_ns: tuple[int, int, int, int, int]
    """As in `Done`, from captured to inferred."""
    name: str
    truth: str | None
    outputs: list[NDArray[Any]]
    hit: Hit | None
    threads: tuple[int, int]
    """What prepared and what ran it, as the recorder numbers threads."""


class CaptureSide:
    """Takes frames from the source and prepares the model's input, for one thread at a time."""

    def __init__(
        self,
        options: Pipeline,
        prepared: Prepared,
        mailbox: Mailbox,
        inference: InferenceSide,
        tell: Callable[[Record], None],
        *,
        first_frame: int,
    ) -> None:
        self._live = options.source.live
        self._preprocess = prepared.preprocess
        self._mailbox = mailbox
        self._slot = mailbox.blank()
        self._inference = inference
        self._rehearsal = Rehearsal(options, prepared)
        self._tell = tell
        self._recorder = inference.recorder
        # A live source is somewhere else by now; a pulled one goes on where the last worker was.
        self._offset = first_frame if self._live else 0
        self._pass_over = 0 if self._live else first_frame
        self._retry_s = FIRST_RETRY_S
        self._why_lost = ""
        self._usual_prepare_ns = 0.0
        self._frames = self._all_frames()
        self.source: Source = options.source.make()
        self.source.reduction = prepared.preprocess.reduction
        self.turn = threading.Lock()
        """Held by the thread that has the source."""
        self.stopping = inference.stopping

    def next(self) -> Slot | None:
        """Return a prepared frame that is now the caller's to run; None when there are no more.

        Frames that are ready while a forward pass is under way go to the mailbox instead.
        Raises SourceError when a pulled source fails.
        """
        return next(self._frames, None)

    def close(self) -> None:
        """Let go of the source, unless a thread still has it and hangs in its driver."""
        if self.turn.acquire(blocking=False):
            self._frames.close()

    def _all_frames(self) -> Generator[Slot, None, None]:
        """Every frame to be run, over all openings of the source."""
        while not self.stopping.is_set():
            try:
                self.source.open()
                yield from self._deliver()
            except SourceError as error:
                if not self._live:
                    raise
                self._lost(error)
            else:
                return
            finally:
                self.source.close()
            # A fleet that lost its network must not come back in one stroke.
            self.stopping.wait(self._retry_s * random.uniform(0.5, 1.0))  # noqa: S311
            self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)

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

    def _deliver(self) -> Iterator[Slot]:
        """Take frames until the source has no more; yield those that find the engine idle."""
        source, mailbox, stopping = self.source, self._mailbox, self.stopping
        recorder, marks = self._recorder, self._recorder.marks
        while True:
            slot = self._slot
            if self._live:
                if mailbox.idle and self._rehearsal.before(source.due_ns(), slot.tensor, stopping):
                    recorder.rehearse()
            elif not self._pass_over:
                self._wait_for_room()
            began_ns = time.monotonic_ns()
            grabbed = source.grab(stopping)
            if grabbed is None:
                return
            if self._pass_over:
                self._pass_over -= 1
                continue
            self._back()
            if self._live and not mailbox.idle and self._in_vain():
                mailbox.skip()
                continue
            slot.grabbed, slot.frame = grabbed, grabbed.number + self._offset
            if self._live:  # what it spent in `grab` was waiting
                began_ns = time.monotonic_ns()
            try:
                recorder.capturing(slot)
                frame = source.retrieve()
                slot.retrieved_ns = time.monotonic_ns()
                marks[slot.mark] = PREPROCESS
                self._preprocess(frame, slot.tensor)
                prepared_ns = slot.prepared_ns = time.monotonic_ns()
            except FrameError as error:
                where = "" if grabbed.name in str(error) else f"{grabbed.name}: "
                details = {"frame": slot.frame, "file": grabbed.name or None}
                self._tell(Note("frame_failed", f"{where}{error}", details))
                continue
            if mailbox.offer(slot):
                yield slot
            else:
                recorder.resting()
            self._slot = mailbox.blank()
            self._rehearsal.frame = frame
            spent_ns = prepared_ns - began_ns
            usual_ns = self._usual_prepare_ns or spent_ns
            self._usual_prepare_ns = usual_ns + (spent_ns - usual_ns) * MEMORY

    def _wait_for_room(self) -> None:
        """Wait, before a pulled source is asked, until the frame before was taken.

        There is time meanwhile to finish what the forward passes left. And a frame taken
        long before the engine is free would only grow old.
        """
        while not self._mailbox.wait_for_room(IDLE_S) and not self.stopping.is_set():
            pass
        self._inference.finish()
        free_ns = self._inference.free_ns()
        if free_ns is not None:
            sleep_until(free_ns - 2 * round(self._usual_prepare_ns) - EARLY_NS, self.stopping)

    def has_time(self) -> bool:
        """Whether a forward pass that begins now will have ended before the next frame comes."""
        due_ns, pass_ns = self.source.due_ns(), self._inference.usual_pass_ns
        return (
            due_ns is not None
            and pass_ns is not None
            and due_ns > time.monotonic_ns() + 2 * pass_ns + HANDOVER_NS
        )

    def _in_vain(self) -> bool:
        """Whether a newer frame will be ready by the time the forward pass under way ends."""
        due_ns, free_ns = self.source.due_ns(), self._inference.free_ns()
        if due_ns is None or free_ns is None:
            return False
        return due_ns + 2 * self._usual_prepare_ns < free_ns


class InferenceSide:
    """Runs the forward pass, decodes, hands the result on."""

    def __init__(
        self,
        options: Pipeline,
        prepared: Prepared,
        mailbox: Mailbox,
        tell: Callable[[Record], None],
        *,
        max_frames: int | None,
        recorder: Recorder | None = None,
    ) -> None:
        """Without a `recorder` it keeps one of its own, which nobody reads."""
        self.recorder = recorder if recorder is not None else Recorder()
        self._run = prepared.engine.run
        self._decode = prepared.decode
        self._cache = prepared.cache
        self._mailbox = mailbox
        self._tell = tell
        self._left = max_frames
        self._live = options.source.live
        self._deadline_ns = round(options.deadline_ms * 1e6)
        self._drop_late = options.on_late == "drop" and self._live
        self._passes_ns: deque[int] = deque(maxlen=KNOWN_PASSES)
        # The engine does not wait for results of a pulled source: its other thread has time.
        # But a cache has to know one result before it is asked for the next.
        self._at_once = self._live or self._cache is not None
        self._unfinished: deque[Ran] = deque()
        self._finishing = threading.Lock()
        self._since_collection = 0
        self.busy_since_ns = 0
        self.stopping = threading.Event()
        """Set by whoever wants the loop to end: no further frame is taken or run."""
        if max_frames == 0:
            self.stopping.set()

    def answer(self, slot: Slot) -> None:
        """Run a frame, and then all that come to wait behind it, until the engine is idle."""
        following: Slot | None = slot
        while following is not None and not self.stopping.is_set():
            following = self._answer(following)
            self.recorder.resting()

    def _answer(self, slot: Slot) -> Slot | None:
        """Run one frame to its result, unless it is too late to be worth it; return the next."""
        grabbed = slot.grabbed
        captured_ns = grabbed.captured_ns
        taken_ns = self.busy_since_ns = time.monotonic_ns()
        if self._drop_late and taken_ns > captured_ns + self._deadline_ns:
            self.busy_since_ns = 0
            waited = (captured_ns, slot.retrieved_ns, slot.prepared_ns, taken_ns)
            with self._finishing:
                runner = self.recorder.inferring(slot, taken_ns)
                late = Late(slot.frame, *waited)
                self._tell(late)
                self.recorder.done(late, slot.captor, runner, self._mailbox.waiting)
                return self._mailbox.next(slot)
        hit = None
        if self._cache is not None:  # the lookup is part of the wait for the forward pass
            hit = self._cache.find(slot.tensor, captured_ns)
            taken_ns = time.monotonic_ns()
        runner = self.recorder.inferring(slot, taken_ns)
        outputs: list[NDArray[Any]] = []
        inferred_ns = taken_ns
        if hit is None:
            outputs = self._run(slot.tensor)
            inferred_ns = time.monotonic_ns()
            self.recorder.marks[slot.mark] = DECODE
            self._passes_ns.append(inferred_ns - taken_ns)
        self.busy_since_ns = 0
        times = (captured_ns, slot.retrieved_ns, slot.prepared_ns, taken_ns, inferred_ns)
        threads = (slot.captor, runner)
        ran = Ran(slot.frame, times, grabbed.name, grabbed.truth, outputs, hit, threads)
        # The next frame's result must not overtake this one's: the lock is taken before the
        # engine is given up.
        with self._finishing:
            self._unfinished.append(ran)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    self.stopping.set()
            if self._at_once:
                self._finish()
            following = self._mailbox.next(slot)
            if following is None or self.stopping.is_set():
                self._finish()
        return following

    def finish(self) -> None:
        """Decode and hand on what forward passes have left to be finished."""
        if self._unfinished:
            with self._finishing:
                self._finish()

    def _finish(self) -> None:
        while self._unfinished:
            frame, times, name, truth, outputs, hit, threads = self._unfinished.popleft()
            if hit is not None:
                told = hit.told
                done = Done(frame, *times, times[-1], name, truth, hit.kept.predictions, told)
            else:
                predictions = self._decode(outputs)
                done = Done(frame, *times, time.monotonic_ns(), name, truth, predictions)
            self._tell(done)
            self.recorder.done(done, *threads, self._mailbox.waiting)
            if self._cache is not None and hit is None:
                self._cache.keep(Kept(frame, times[0], done.predictions))
            self._since_collection += 1
        if self._since_collection >= COLLECT_EVERY:
            self._since_collection = 0
            gc.collect()

    @property
    def usual_pass_ns(self) -> int | None:
        """The longest of the last forward passes; None before the first."""
        return max(self._passes_ns, default=None)

    def free_ns(self) -> int | None:
        """Return when the forward pass under way will end at the earliest; None without one."""
        busy_since_ns = self.busy_since_ns
        if not busy_since_ns or not self._passes_ns:
            return None
        return busy_since_ns + min(self._passes_ns)


def run_pipeline(capture: CaptureSide, inference: InferenceSide) -> None:
    """Run both threads to the end. Raises what ended either of them, where it was an error."""
    errors: list[Exception] = []

    def go_the_way() -> None:
        try:
            while not inference.stopping.is_set():
                if not capture.turn.acquire(timeout=IDLE_S):
                    continue  # the other may hang in its driver
                try:
                    slot = capture.next()
                    # Where there is time to come back, waking the other would only disturb.
                    while slot is not None and capture.has_time():
                        inference.answer(slot)
                        slot = capture.next()
                finally:
                    capture.turn.release()
                if slot is None:
                    return
                inference.answer(slot)
        except Exception as error:  # noqa: BLE001  raised again below
            errors.append(error)
            inference.stopping.set()

    threads = [threading.Thread(target=go_the_way, name=f"frames-{n}", daemon=True) for n in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive() and not inference.stopping.is_set():
            thread.join(IDLE_S)
    for thread in threads:
        thread.join(IDLE_S * 4)  # a camera may hang in its driver: it dies with us
    inference.finish()
    capture.close()
    for error in errors:
        if isinstance(error, EdgeError):
            raise error
        raise RuntimeError("a thread of the loop failed") from error
