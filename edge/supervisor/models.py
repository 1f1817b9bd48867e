"""The models of a pipeline: which it has, and how another takes its place between two frames."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from edge.config.ladder import ladder_problems, pipeline_on_each_rung
from edge.errors import ConfigError, EdgeError
from edge.supervisor.acceleration import Acceleration
from edge.supervisor.keeper import start_limit_s
from edge.supervisor.rungs import Rungs
from edge.supervisor.trial import error_of
from edge.wire import Change, Done, Failed, Ready, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.pipeline import Pipeline
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.wire import Late

BELONGS_TO_THE_MODEL = ("model", "decode", "cache", "ladder", "every", "rehearse", "publish")
"""What of a pipeline's options a swap may change; for all else the pipeline begins anew."""
SETTLE_LIMIT_S = 30.0  # for a change of rung, or to an accelerator, that is under way
LOOK_EVERY_S = 0.05
MOST_PAST = 16  # models whose last frame may still be under way: an idle source holds one back
NO_FRAME_LIMIT_S = 10.0  # a source that gives none holds up no swap
LOST = ("mailbox", "deadline", "source")


class Swapped(NamedTuple):
    """A change to another model, as it was measured from the asking to its first results."""

    gap_ms: float | None
    """The longest time between two results; None where there were not two."""
    frames_dropped: int
    """Frames that got no result, whatever for; those that `every` passes over are none."""
    prepared_ms: float
    """How long it took to prepare the new model, beside the one that ran."""


class Models:
    """The model that a pipeline has, and at most one that is on its way to take its place.

    Models are told apart by their revision: a number that is given once.
    """

    def __init__(self, pipeline: SupervisedPipeline, options: Pipeline) -> None:
        """`options` are those that the pipeline is made with."""
        self._pipeline = pipeline
        self._revisions = itertools.count()
        self.options = options
        """The pipeline's, with the model that it has now."""
        self.rungs = self.stand(options)
        self._past: deque[Rungs] = deque(maxlen=MOST_PAST)
        self._change: _Change | None = None
        self.changing = False
        """Whether another is on its way."""
        self._chores: list[asyncio.Task[None]] = []

    def stand(
        self, options: Pipeline, *, like: Rungs | None = None, beside: Rungs | None = None
    ) -> Rungs:
        """Return the rungs of a model, at the place where those of the present one are.

        Where it runs in shadow already, its rungs there are given by `beside`: the worker knows it
        by their revision.
        """
        pipeline = self._pipeline
        known = beside or like
        acceleration = Acceleration(
            pipeline_on_each_rung(options),
            tell=pipeline.tell,
            leave=pipeline.close_window,
            take_back=pipeline.take_accelerator_back,
            give_up=pipeline.keeper.kill,
            before=None if known is None else known.acceleration,
        )
        return Rungs(
            options,
            ask=pipeline.keeper.ask,
            leave=pipeline.close_window,
            tell=pipeline.tell,
            acceleration=acceleration,
            sensors=pipeline.sensors.sensors,
            revision=next(self._revisions) if beside is None else beside.revision,
            before=like,
        )

    def rungs_of(self, record: Done | Late) -> Rungs:
        """Return the rungs that a frame was run on: it may have been under way in a swap."""
        if record.revision == self.rungs.revision:
            return self.rungs
        return next(each for each in self._past if each.revision == record.revision)

    def answered(self, record: Ready | Refused) -> None:
        """Take in that the worker is ready for something it was asked for, or refuses it."""
        shadowing, present = self._pipeline.shadowing, self.rungs
        if self._change is not None and record.revision == self._change.rungs.revision:
            self._change_answered(self._change, record)
        elif shadowing.owns(record):
            shadowing.answered(record)
        elif record.revision != present.revision:
            return  # nobody wants it any more
        elif isinstance(record, Ready):
            present.prepared(record)
            present.acceleration.ready(record)
            self._pipeline.began(record)
        elif record.accelerated and present.acceleration.on_cpu:
            present.acceleration.refused(record.message)
        else:
            present.refused(record)

    def starting(self) -> None:
        """Ask with which model to start a worker. Raises ConfigError where it cannot be had."""
        options = self._pipeline.watch.starting()
        if options is not None and options != self.options:
            refuse_unfit(self.options, options)
            self._adopt(options, self.stand(options, like=self.rungs))

    def _adopt(self, options: Pipeline, rungs: Rungs) -> None:
        """Go on with another model, from the record in hand on."""
        self._pipeline.close_window()
        before, self.options, self.rungs = self.rungs, options, rungs
        self._past.appendleft(before)
        rungs.take_over(before)
        self.look_after()
        self._pipeline.shadowing.model_changed()
        self._pipeline.on_another_way()

    def look_after(self) -> None:
        """Look at the sensors for the ladder, and after a lost accelerator."""
        self._let_be()
        watches = (self.rungs.watch, self.rungs.acceleration.watch)
        self._chores = [asyncio.create_task(watch()) for watch in watches]

    def _let_be(self) -> None:
        for chore in self._chores:
            chore.cancel()

    def close(self) -> None:
        """Take in that the pipeline ends."""
        self._let_be()
        self.fail("the pipeline ends")

    async def swap(self, candidate: Pipeline) -> Swapped:
        """Go over to the candidate between two frames; return when its first results are there.

        Raises ConfigError where it differs in more than a swap can change, and EdgeError where it
        cannot be made: then all is as it was.
        """
        pipeline = self._pipeline
        refuse_unfit(self.options, candidate)
        pipeline.refuse_change()
        self.changing = True
        try:
            change = self._ask(candidate, await self._proven(candidate))
        except BaseException:
            self._over()
            raise
        # Who awaits it may go: the worker changes all the same.
        return await asyncio.shield(change.outcome)

    def _ask(self, candidate: Pipeline, rungs: Rungs) -> _Change:
        pipeline = self._pipeline
        asked = Change(rungs.rung, rungs.options.model_dump_json(), rungs.revision)
        if pipeline.state != "running" or not pipeline.keeper.ask(asked):
            raise EdgeError(f"{pipeline.name} is {pipeline.state}: its model cannot be changed now")
        self._change = _Change(candidate, rungs, _lost(pipeline))
        self._expect(start_limit_s(rungs.options), self._not_ready)
        return self._change

    async def _proven(self, candidate: Pipeline) -> Rungs:
        """Hold the ladder still; return the candidate's rungs once it is known what runs them."""
        present = self.rungs
        present.held = True
        end_s = time.monotonic() + SETTLE_LIMIT_S
        while present.on_the_move or present.acceleration.coming_back:
            if time.monotonic() > end_s:
                raise EdgeError(f"{self._pipeline.name} has been changing its rung for too long")
            await asyncio.sleep(LOOK_EVERY_S)
        rungs = self.stand(
            candidate, like=present, beside=self._pipeline.shadowing.rungs_of(candidate)
        )
        if failed := await rungs.acceleration.prove():
            raise error_of(failed)
        return rungs

    def _expect(self, within_s: float, otherwise: Callable[[], None]) -> None:
        """Do `otherwise` unless something happens within that time."""
        change = self._change
        if change is not None:
            if change.timer is not None:
                change.timer.cancel()
            change.timer = asyncio.get_running_loop().call_later(within_s, otherwise)

    def _not_ready(self) -> None:
        self.fail("it was not ready in time")
        self._pipeline.keeper.kill()  # its thread for such changes hangs

    def _no_frame(self) -> None:
        """Take it that the worker has gone over: no frame has come to show it."""
        change = self._change
        if change is not None and not change.made:
            self._make(change)
            self._succeed(change)

    def _change_answered(self, change: _Change, record: Ready | Refused) -> None:
        """Take in that the new model is prepared and runs from the next frame on, or never will."""
        if isinstance(record, Refused):
            self._end(error_of(Failed(record.error, record.message)))
            return
        change.ready = record
        change.prepared_ms = round((time.monotonic() - change.asked_s) * 1e3, 3)
        change.rungs.prepared(record)
        self._expect(NO_FRAME_LIMIT_S, self._no_frame)

    def heard(self, record: Done | Late) -> None:
        """Take in a frame; the first of the new model makes the swap."""
        change = self._change
        if change is None:
            return
        if not change.made and record.revision == change.rungs.revision:
            self._make(change)
        if isinstance(record, Done):
            change.answered(record.decoded_ns)

    def beat(self) -> None:
        """Take in that counts are up to date: after the first frames the swap is over."""
        if self._change is not None and self._change.made:
            self._succeed(self._change)

    def fail(self, why: str) -> None:
        """Take in that the worker is gone, or cannot go over; what is made is made."""
        change = self._change
        if change is None:
            return
        if change.made:
            self._succeed(change)
        else:
            name = change.options.model.path.name
            self._end(EdgeError(f"{self._pipeline.name} stays with its model, not {name}: {why}"))

    def _make(self, change: _Change) -> None:
        change.made = True
        assert change.ready is not None  # noqa: S101  it came before its first frame
        self._adopt(change.options, change.rungs)
        self.rungs.acceleration.ready(change.ready)
        self._pipeline.watch.ready(change.ready)

    def _succeed(self, change: _Change) -> None:
        dropped = _lost(self._pipeline) - change.lost_before
        gap_ms = None if change.gap_ns is None else round(change.gap_ns / 1e6, 3)
        swapped = Swapped(gap_ms, dropped, change.prepared_ms)
        between = "" if gap_ms is None else f", at most {gap_ms:g} ms between two results"
        frames = f"{dropped} frame{'s' * (dropped != 1)} dropped"
        self._pipeline.tell(
            "model_swapped",
            f"{change.options.model.path.name} answers from now on: prepared beside the other in "
            f"{change.prepared_ms:g} ms{between}, {frames} meanwhile",
            digest=change.ready and change.ready.digest,
            **swapped._asdict(),
        )
        self._end(swapped)

    def _end(self, outcome: Swapped | EdgeError) -> None:
        change, self._change = self._change, None
        assert change is not None  # noqa: S101
        if change.timer is not None:
            change.timer.cancel()
        self._over()
        if isinstance(outcome, Swapped):
            change.outcome.set_result(outcome)
        else:
            change.outcome.set_exception(outcome)
            change.outcome.exception()  # it is told even where nobody awaits it any longer

    def _over(self) -> None:
        self.changing = False
        self.rungs.held = False


class _Change:
    """One swap under way."""

    def __init__(self, options: Pipeline, rungs: Rungs, lost_before: int) -> None:
        self.options = options
        self.rungs = rungs
        self.lost_before = lost_before
        self.asked_s = time.monotonic()
        self.ready: Ready | None = None
        self.prepared_ms = 0.0
        self.made = False
        self.gap_ns: int | None = None
        self._last_ns: int | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.outcome: asyncio.Future[Swapped] = asyncio.get_running_loop().create_future()

    def answered(self, decoded_ns: int) -> None:
        """Take in when a result was there."""
        if self._last_ns is not None:
            self.gap_ns = max(self.gap_ns or 0, decoded_ns - self._last_ns)
        self._last_ns = decoded_ns


def refuse_unfit(present: Pipeline, candidate: Pipeline) -> None:
    """Raise ConfigError where a candidate differs in what a running worker cannot change."""
    fields = type(present).model_fields
    differ = [
        f"`{name}`"
        for name in fields
        if name not in BELONGS_TO_THE_MODEL and getattr(present, name) != getattr(candidate, name)
    ]
    if differ:
        allowed = ", ".join(f"`{name}`" for name in BELONGS_TO_THE_MODEL)
        raise ConfigError(
            f"a model is swapped with {allowed}, and {', '.join(differ)} would change as well: "
            "write it in the YAML and reload"
        )
    for _, problem in ladder_problems(candidate):
        raise ConfigError(f"the ladder {problem}")


def _lost(pipeline: SupervisedPipeline) -> int:
    """Return how many frames have got no result so far."""
    counts = [each for source in pipeline.sources for each in source.figures.counts]
    return sum(count.dropped[kind] for count in counts for kind in LOST)
