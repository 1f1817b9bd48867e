"""Where a pipeline stands on its ladder: asks for steps, tells of those made, keeps the count."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from edge.config.ladder import pipeline_on_each_rung, rung_names
from edge.messages import LadderFigures
from edge.supervisor.ladder import LadderController
from edge.supervisor.sensors import Sensors
from edge.wire import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.pipeline import Pipeline
    from edge.supervisor.acceleration import Acceleration
    from edge.supervisor.ladder import Step
    from edge.wire import Done, Late, Ready, Refused

LOOK_EVERY_S = 1.0
TWICE = 2  # once may be chance: a worker that dies, a camera that is pulled out


class Tell(Protocol):
    """Tells of an event of the pipeline."""

    def __call__(self, event: Any, message: str, *, level: int = ..., **details: Any) -> None:
        """Log it and publish it."""


class Rungs:
    """The rungs of one pipeline; without a ladder there is one, and nothing is decided.

    A step is asked of the worker, which prepares it beside the rung that it runs. It is made when
    the first frame of the new rung has come: until then all stays as it was.
    """

    def __init__(
        self,
        options: Pipeline,
        *,
        ask: Callable[[Change], bool],
        leave: Callable[[], None],
        tell: Tell,
        acceleration: Acceleration,
        sensors: Sensors | None = None,
        revision: int = 0,
        before: Rungs | None = None,
    ) -> None:
        """`ask` sends the worker a record, if there is one; `leave` is called before a change.

        `acceleration` tells whether each rung's model has its accelerator. Where these are to
        follow those of another model, they begin at the rung where those `before` are, if it is
        the same ladder by its names.
        """
        self.revision = revision
        self.names = rung_names(options)
        self.rung: int = before.rung if before is not None and before.names == self.names else 0
        self.held = False
        """Whether no step may be asked for at the moment."""
        self._pipeline = options
        self._left_out: set[int] = set()
        self._options = pipeline_on_each_rung(options)
        self._ask = ask
        self._leave = leave
        self._tell = tell
        self._sensors = sensors or Sensors()
        self.acceleration = acceleration
        self._ready: dict[tuple[int, bool], Ready] = {}
        self._asked: Step | None = None
        self._on_the_way = False
        """Whether the worker has prepared what was asked for."""
        self._failures: Counter[int] = Counter()
        self._down = self._up = 0
        self._seconds = [0.0] * len(self.names)
        self._since_s = time.monotonic()
        self._standing = False
        self._controller = self._new_controller()
        self._told_exhausted = False

    def _new_controller(self) -> LadderController | None:
        options, now_s = self._pipeline, time.monotonic()
        if options.ladder is None:
            return None
        deadlines_ms = [options.deadline_of(source) for source in options.all_sources]
        controller = LadderController(
            options.ladder, self.names, deadlines_ms=deadlines_ms, now_s=now_s
        )
        if self.rung:
            controller.arrived(self.rung, now_s)
        return controller

    def take_over(self, before: Rungs) -> None:
        """Begin in the place of another model's rungs, and go on with what those have counted."""
        now_s = self._since_s = time.monotonic()
        before._count_seconds(now_s)
        self._down, self._up, self._standing = before._down, before._up, before._standing
        if before.names == self.names:
            self._seconds = before._seconds
        self._controller = self._new_controller()
        self.acceleration.take_over(before.acceleration)

    @property
    def options(self) -> Pipeline:
        """The pipeline as it is on the present rung."""
        return self._on(self.rung)

    def _on(self, rung: int, *, accelerated: bool | None = None) -> Pipeline:
        """Return the pipeline on a rung, with or without accelerator, as it is now if not given."""
        if accelerated is None:
            accelerated = not self.acceleration.on_cpu
        return self.acceleration.applied(self._options[rung], accelerated=accelerated)

    @property
    def ready(self) -> Ready | None:
        """What the worker said when the present rung was ready."""
        return self._ready.get((self.rung, self.options.accelerated))

    def of(self, record: Done | Late) -> tuple[str, Pipeline, Ready]:
        """Return name, options and readiness of the rung that a frame was run on."""
        rung, accelerated = record.rung, record.accelerated
        options = self._on(rung, accelerated=accelerated)
        return self.names[rung], options, self._ready[rung, accelerated]

    def accelerate(self) -> bool | None:
        """Ask the worker to go over to the accelerator.

        False where it cannot be asked now, None where nothing runs that could have it.
        """
        options = self._on(self.rung, accelerated=True)
        if self._standing or not options.accelerated:
            return None
        if self.on_the_move or self.held:
            return False
        return self._ask(Change(self.rung, options.model_dump_json(), self.revision))

    @property
    def on_the_move(self) -> bool:
        """Whether a step was asked for that is not made."""
        return self._asked is not None

    @property
    def any_cache(self) -> bool:
        """Whether there is a rung that reuses results."""
        return any(options.cache.mode != "off" for options in self._options)

    def prepared(self, ready: Ready) -> None:
        """Take in that the worker is ready for a rung."""
        self._ready[ready.rung, ready.accelerated] = ready
        self._on_the_way = self._asked is not None and ready.rung == self._asked.rung

    def heard(self, record: Done | Late) -> bool:
        """Take in which rung a frame was run on; True where it is the first after a step."""
        if self._asked is None or not self._on_the_way or record.rung != self._asked.rung:
            return False  # it may be of an earlier stay on that rung, and have been overtaken
        self._make(self._asked)
        return True

    def _make(self, step: Step) -> None:
        self._leave()
        before, now_s = self.rung, time.monotonic()
        self._count_seconds(now_s)
        self.rung, self._asked, self._told_exhausted = step.rung, None, False
        downward = step.rung > before
        self._down += downward
        self._up += not downward
        if self._controller is not None:
            self._controller.arrived(step.rung, now_s)
        name, name_before = self.names[step.rung], self.names[before]
        self._tell(
            "rung_changed",
            f"{'down' if downward else 'up'} from `{name_before}` to `{name}`: {step.because}",
            level=logging.WARNING if downward else logging.INFO,
            rung=step.rung,
            rung_name=name,
            rung_before=before,
            rung_name_before=name_before,
            reason=step.reason,
            **step.evidence,
        )

    def judged(self, record: Done | Late, *, missed: bool) -> None:
        """Take in a frame and whether it missed its deadline; ask for a step where it is time."""
        if self._controller is None or record.rung != self.rung:
            return
        stages_ns = record.stages_ns
        now_s = time.monotonic()
        self._controller.frame(
            now_s,
            latency_ms=sum(stages_ns.values()) / 1e6,
            capture_ms=stages_ns["capture"] / 1e6,
            missed=missed,
            ran=getattr(record, "cached", None) is None,
        )
        self._decide(self._controller, now_s)

    async def watch(self) -> None:
        """Look at the sensors now and then."""
        while self._controller is not None:
            self._controller.feel(self._sensors.read())
            self._decide(self._controller, time.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)

    def _decide(self, controller: LadderController, now_s: float) -> None:
        held = self.held or self._standing or self.acceleration.coming_back
        step = None if held else controller.decide(now_s)
        if controller.exhausted and not self._told_exhausted:
            self._told_exhausted = True
            self._tell(
                "ladder_exhausted",
                f"`{self.names[self.rung]}` is the cheapest rung there is: {controller.exhausted}",
                level=logging.WARNING,
                rung=self.rung,
                rung_name=self.names[self.rung],
            )
        if step is None:
            return
        self._asked, self._on_the_way = step, False
        options = self._on(step.rung)
        if not self._ask(Change(step.rung, options.model_dump_json(), self.revision)):
            self._forget(controller)

    def refused(self, refused: Refused) -> None:
        """Do without a rung that the worker cannot change to."""
        self._do_without(refused.rung, refused.message)

    def worker_died(self) -> None:
        """Stay on the rung where a worker died on the way to another."""
        self._failed(f"{TWICE} workers died while they prepared it")

    def pause(self) -> None:
        """Stay where it is: there will be no worker for a while, and that time does not count."""
        if self._asked is not None and self._controller is not None:
            self._forget(self._controller)
        self._count_seconds(time.monotonic())
        self._standing = True

    def resume(self) -> None:
        """Count the time again: there is a worker."""
        self._count_seconds(time.monotonic())
        self._standing = False

    def source_lost(self, why: str) -> None:
        """Go back where a source cannot be had as the rung asked for wants it."""
        step = self._asked
        if step is None or self._options[step.rung].all_sources == self.options.all_sources:
            return
        self._ask(Change(self.rung, self.options.model_dump_json(), self.revision))
        self._failed(why)

    def _failed(self, why: str) -> None:
        """Give up the step that was asked for; the second time its rung is left out."""
        if self._asked is None or self._controller is None:
            return
        rung = self._asked.rung
        self._failures[rung] += 1
        if self._failures[rung] < TWICE:
            self._forget(self._controller)
        else:
            self._do_without(rung, why)

    def _forget(self, controller: LadderController) -> None:
        self._asked = None
        controller.stayed()

    def _do_without(self, rung: int, why: str) -> None:
        self._asked = None
        if self._controller is not None:
            self._controller.left_out(rung)
        self._left_out.add(rung)
        without = pipeline_on_each_rung(self._pipeline, self._left_out)
        for below in range(rung + 1, len(self.names)):
            if (
                not {(below, True), (below, False)} & self._ready.keys()
            ):  # one that was run already stays what it is
                self._options[below] = without[below]
        self._tell(
            "rung_refused",
            f"`{self.names[rung]}` is left out from now on: {why}",
            level=logging.ERROR,
            rung=rung,
            rung_name=self.names[rung],
        )

    def _count_seconds(self, now_s: float) -> None:
        if not self._standing:
            self._seconds[self.rung] += now_s - self._since_s
        self._since_s = now_s

    def figures(self) -> LadderFigures | None:
        """Return what the metrics say of the ladder; None without one."""
        if self._controller is None:
            return None
        self._count_seconds(time.monotonic())
        return LadderFigures(
            steps_down_total=self._down,
            steps_up_total=self._up,
            seconds_total={
                name: round(seconds, 3)
                for name, seconds in zip(self.names, self._seconds, strict=True)
            },
        )
