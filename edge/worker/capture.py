"""The first half of a frame's way: a source gives it, the model's input is made of it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from edge.errors import FrameError, SourceError
from edge.flight import PREPROCESS
from edge.sources.base import Surroundings
from edge.sources.pacing import sleep_until
from edge.wire import Began, Note
from edge.worker.preprocess import Preprocessor
from edge.worker.rehearsal import Rehearsal
from edge.worker.schedule import NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from edge.sources.base import Grabbed, ModelInput, Source, SourceOptions
    from edge.wire import Record
    from edge.worker.inference import InferenceSide
    from edge.worker.mailbox import Mailbox, Slot
    from edge.worker.prepare import Prepared

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
IDLE_S = 0.5
EARLY_NS = 300_000  # a pulled frame is ready so long before the engine is
HANDOVER_NS = 1_000_000  # a thread is awake by then
MEMORY = 1 / 8  # weight of the newest frame in what preparing usually takes
NOWHERE = Surroundings()


class CaptureSide:
    """Takes frames from a source and prepares the model's input, for one thread at a time."""

    def __init__(
        self,
        options: SourceOptions,
        way: Prepared,
        mailbox: Mailbox,
        inference: InferenceSide,
        tell: Callable[[Record], None],
        *,
        number: int,
        name: str,
        alone: bool,
        deadline_ms: float,
        first_frame: int,
        surroundings: Surroundings = NOWHERE,
    ) -> None:
        """`number` is the place of the source in its pipeline; where it is `alone` it has no name.

        `first_frame` is the number of its next frame.
        """
        self.number = number
        self.name = name
        self._alone = alone
        self._live = options.live
        self._mailbox = mailbox
        self._inference = inference
        self._tell = tell
        self._recorder = inference.recorder
        self._lens = inference.lens
        self._shadow = inference.shadow
        self._deadline_ns = round(deadline_ms * 1e6)
        self._in_hand = False
        # A source that does not begin anew is somewhere else by now; of the others, what the last
        # worker had is passed over.
        self._offset = 0 if options.begins_anew else first_frame
        self._pass_over = first_frame if options.begins_anew else 0
        self._next_frame = first_frame
        self._retry_s = FIRST_RETRY_S
        self._why_lost = ""
        self._usual_prepare_ns = 0.0
        self._since_run = 0
        self._lost_before = 0
        self.skipped = 0
        """Frames passed over because only every n-th is run."""
        self.stopping = inference.stopping
        self._options = options
        self._surroundings = surroundings
        self.source = self._make_source()
        self._change_to(way)
        self._wanted, self._wanted_options = way, options
        self._frames = self._all_frames()

    @property
    def lost(self) -> int:
        """Frames that were due by the source's own clock and that nobody could take, in all."""
        return self._lost_before + self.source.lost

    def next(self) -> Slot | None:
        """Return a prepared frame that is now the caller's to run; None when there are no more.

        Frames that are ready while a forward pass is under way go to the mailbox instead.
        Raises SourceError when a pulled source fails.
        """
        return next(self._frames, None)

    def change(self, way: Prepared, options: SourceOptions) -> None:
        """Go another way from the next frame on; with other options the source is opened anew."""
        self._wanted_options = options
        self._wanted = way

    def close(self) -> None:
        """Let go of the source. Not while a thread has it."""
        self._frames.close()

    def _all_frames(self) -> Generator[Slot, None, None]:
        """Every frame to be run, over all openings of the source."""
        while not self.stopping.is_set():
            try:
                self.source.open()
                yield from self._deliver()
            except SourceError as error:
                if self._options.begins_anew:
                    raise
                self._lost(error)
            else:
                if self._wanted_options == self._options:
                    return
            finally:
                self.source.close()
            if self._wanted_options != self._options:
                self._replace_source()
            else:  # a fleet that lost its network must not come back in one stroke
                self.stopping.wait(self._retry_s * random.uniform(0.5, 1.0))  # noqa: S311
                self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)

    def _replace_source(self) -> None:
        self._options = self._wanted_options
        self._lost_before += self.source.lost
        self._offset = self._next_frame
        self.source = self._make_source()
        self._change_to(self._wanted)

    def _make_source(self) -> Source:
        source = self._options.make()
        source.place(self._surroundings)
        return source

    def accepted(self, frame: int) -> None:
        """Hear that a frame is settled, by its number over all workers."""
        self.source.accepted(frame - self._offset)

    def _change_to(self, way: Prepared) -> None:
        self._way = way
        # It works in memory of its own, and other sources are prepared at the same time.
        self._preprocess = Preprocessor(way.options.model, way.preprocess.spec)
        self._slot = self._mailbox.blank(way)
        self._rehearsal = Rehearsal(self._options, way, alone=self._alone)
        self._make_smaller()

    def _make_smaller(self) -> None:
        """Let the source make frames as small as will do, for a model in shadow as well."""
        own = self._preprocess
        other = self._beside = self._shadow.way
        if other is None or self._shadow.has_input_of(self._way):
            self.source.make_smaller(own.reduction, own.scaling)
            return
        its = other.preprocess
        self.source.make_smaller(
            lambda width, height: min(own.reduction(width, height), its.reduction(width, height)),
            lambda width, height: max(own.scaling(width, height), its.scaling(width, height)),
        )

    @property
    def rehearsing_since_ns(self) -> int:
        """When the rehearsal under way began; 0 when there is none."""
        return self._rehearsal.since_ns

    def _lost(self, error: SourceError) -> None:
        """Tell why there are no frames, once for each reason."""
        if str(error) != self._why_lost:
            self._why_lost = str(error)
            self._note("source_lost", self._why_lost)

    def _back(self) -> None:
        """Take note that there are frames; tell it where they were missed."""
        self._retry_s = FIRST_RETRY_S
        if self._why_lost:
            self._why_lost = ""
            self._note("source_back", "the source delivers again")

    def _note(self, event: str, message: str, **details: str | int | None) -> None:
        if self.name:
            message, details = f"{self.name}: {message}", {"source": self.name, **details}
        self._tell(Note(event, message, details))

    def _deliver(self) -> Iterator[Slot]:
        """Take frames until the source has no more; yield those that find the engine idle."""
        source, mailbox, stopping = self.source, self._mailbox, self.stopping
        while True:
            if self._wanted is not self._way:
                if self._wanted_options != self._options:
                    return
                self._change_to(self._wanted)
            if self._shadow.way is not self._beside:
                self._make_smaller()
            way, slot = self._way, self._slot
            runs = self._since_run + 1 >= way.every
            if self._live:
                if (
                    mailbox.idle
                    and runs
                    and self._rehearsal.before(source.due_ns(), slot.tensor, stopping)
                ):
                    self._recorder.rehearse()
            elif not self._pass_over:
                self._wait_for_room()
            began_ns = time.monotonic_ns()
            grabbed = source.grab(stopping)
            if grabbed is None:
                return
            self._next_frame = grabbed.number + self._offset + 1
            if self._pass_over:
                self._pass_over -= 1
                continue
            self._back()
            self._since_run += 1
            if self._since_run < way.every:
                self._skip(grabbed)
                continue
            self._since_run = 0
            if self._live and not mailbox.idle and self._in_vain():
                mailbox.skip(self.number, grabbed.captured_ns)
                continue
            slot.grabbed, slot.frame = grabbed, grabbed.number + self._offset
            slot.source, slot.captured_ns = self.number, grabbed.captured_ns
            if self._live:  # what it spent in `grab` was waiting
                began_ns = time.monotonic_ns()
            try:
                frame = self._prepare(slot)
            except FrameError as error:
                self._failed(slot, error)
                continue
            prepared_ns = slot.prepared_ns
            if self._offer(slot):
                yield slot
            self._slot = mailbox.blank(way)
            self._rehearsal.frame = frame
            spent_ns = prepared_ns - began_ns
            usual_ns = self._usual_prepare_ns or spent_ns
            self._usual_prepare_ns = usual_ns + (spent_ns - usual_ns) * MEMORY

    def _skip(self, grabbed: Grabbed) -> None:
        self.skipped += 1
        self.source.accepted(grabbed.number)

    def _failed(self, slot: Slot, error: FrameError) -> None:
        self._in_hand = False
        name = slot.grabbed.name
        where = "" if name in str(error) else f"{name}: "
        details = {"frame": slot.frame, "file": name or None}
        self._note("frame_failed", f"{where}{error}", **details)

    def _offer(self, slot: Slot) -> bool:
        """Hand on a frame; True where the engine is idle: it is this thread's to run."""
        idle = self._mailbox.offer(slot)
        self._in_hand = False
        if not idle:
            self._recorder.resting()
        return idle

    def _prepare(self, slot: Slot) -> NDArray[Any] | ModelInput:
        """Decode the frame grabbed last and make the model's input of it; return the frame."""
        self._in_hand = True
        if slot.grabbed.digest is not None:
            self._tell(Began(slot.frame, slot.grabbed.digest))
        self._recorder.capturing(slot)
        began_ns = time.monotonic_ns()
        self._shadow.retrievals[self.number] += 1
        frame = self.source.retrieve()
        slot.retrieved_ns = time.monotonic_ns()
        slot.unpacking_ns = slot.retrieved_ns - began_ns
        self._lens.captured(slot, frame)
        self._shadow.captured(slot, frame)
        self._recorder.marks[slot.mark] = PREPROCESS
        slot.geometry = self._preprocess(frame, slot.tensor)
        if self.source.size is not None:
            slot.geometry = slot.geometry.of_size(*self.source.size)
        slot.prepared_ns = time.monotonic_ns()
        return frame

    def _wait_for_room(self) -> None:
        """Wait, before a pulled source is asked, until there is room for its next frame.

        There is time meanwhile to finish what the forward passes left. And a frame taken
        long before the engine is free would only grow old.
        """
        while not self._mailbox.wait_for_room(self.number, IDLE_S) and not self.stopping.is_set():
            pass
        self._inference.finish()
        free_ns = self._inference.free_ns()
        if free_ns is not None and self._way.batch == 1:
            sleep_until(free_ns - 2 * round(self._usual_prepare_ns) - EARLY_NS, self.stopping)

    def engine_wanted_ns(self) -> int:
        """Return by when the engine has to be free, lest the next frame wait for it.

        Where nobody knows when that comes: so soon that one which came just now would be in time.
        """
        if not self._live:
            return NEVER_NS
        if self._in_hand:
            return 0
        due_ns = self.source.due_ns()
        if due_ns is not None:
            return due_ns - self._rehearsal.lead_ns - HANDOVER_NS
        usual_ns = round(self._usual_prepare_ns) + self._way.costs.most(1)
        return time.monotonic_ns() + self._deadline_ns - usual_ns - HANDOVER_NS

    def has_time(self) -> bool:
        """Whether a forward pass that begins now will have ended before the next frame comes."""
        if not self._alone or self._way.batch > 1:
            return False
        due_ns, pass_ns = self.source.due_ns(), self._way.costs.most(1)
        return (
            due_ns is not None
            and pass_ns > 0
            and due_ns > time.monotonic_ns() + 2 * pass_ns + HANDOVER_NS
        )

    def _in_vain(self) -> bool:
        """Whether a newer frame will be ready by the time this one would be run."""
        due_ns, free_ns = self.source.due_ns(), self._inference.free_ns()
        if due_ns is None or free_ns is None or self._way.batch > 1:
            return False
        if not self._alone:
            free_ns += self._mailbox.ahead(self.number) * self._way.costs.least(1)
        return due_ns + 2 * self._usual_prepare_ns < free_ns
