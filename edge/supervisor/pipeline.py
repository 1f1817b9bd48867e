"""One pipeline as the supervisor sees it: its records become figures, results and events."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from edge.errors import ConfigError, EdgeError
from edge.latency.figures import Figures
from edge.spool.message import Outgoing
from edge.supervisor.black_box import BlackBox
from edge.supervisor.keeper import Keeper
from edge.supervisor.log import log
from edge.supervisor.looking import Looking
from edge.supervisor.model_watch import NobodyWatches
from edge.supervisor.models import Models
from edge.supervisor.pipeline_info import facts, loaded, metrics
from edge.supervisor.requests import why_no_answer
from edge.supervisor.results import result_of
from edge.supervisor.shadowing import Shadowing
from edge.supervisor.source import SupervisedSource
from edge.wire import Beat, Done, Ended, Failed, Late, Note, Picture, Ready, Refused, Shadowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.config.pipeline import Pipeline
    from edge.messages import Metrics, Result, ShadowFigures
    from edge.supervisor.acceleration import Acceleration
    from edge.supervisor.black_box import Archive
    from edge.supervisor.model_watch import ModelWatch
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.rungs import Rungs
    from edge.wire import Record

MISS_EVENTS_EVERY_S = 10.0
FAILURE_EVENTS_EVERY_S = 1.0
State = Literal["starting", "running", "paused", "failed", "ended", "stopped"]


class SupervisedPipeline:
    """Keeps a pipeline's worker, its figures and its place in the topics."""

    def __init__(
        self,
        name: str,
        options: Pipeline,
        outlet: Outlet,
        *,
        sequence: Iterator[int],
        max_frames: int | None,
        broker: str | None,
        archive: Archive,
        overrides: Mapping[str, float],
        paused: bool = False,
        first_frames: list[int] | None = None,
        watch: ModelWatch | None = None,
    ) -> None:
        """`sequence` numbers the published results; it and the `archive` outlive a reload.

        `overrides` tells what of the options is not the YAML's; `first_frames` are the numbers
        that the sources go on with; `broker` is what its workers are told of the broker, where
        their frames come from it. `watch` may have it start with another model than the YAML's.
        """
        self.name = name
        self.configured = options
        """What it was made with."""
        self.overrides = dict(overrides)
        self.state: State = "paused" if paused else "starting"
        self.outlet = outlet
        self.sources = [SupervisedSource(each, options) for each in options.all_sources]
        self._alone = len(self.sources) == 1
        self._awaited = any(each.awaits_acceptance for each in options.all_sources.values())
        self.figures = self.sources[0].figures
        if not self._alone:
            self.figures = Figures(options.deadline_ms, now_ns=time.monotonic_ns())
        self.keeper = Keeper(
            name,
            options,
            device=outlet.device,
            max_frames=max_frames,
            first_frames=first_frames,
            broker=broker,
            before_start=self._before_start,
            on_record=self._take,
            on_ended=self._worker_ended,
            on_died=self._worker_died,
            on_output=self._worker_said,
        )
        self.sensors = archive.sensors
        self.black_box = BlackBox(self.keeper, archive, partial(facts, self), self.tell)
        self.watch = watch or NobodyWatches()
        self.models = Models(self, options)
        self.swap = self.models.swap
        self.shadowing = Shadowing(self)
        self.shadow, self.end_shadow = self.shadowing.begin, self.shadowing.end
        self.looking = Looking(self.keeper.ask)
        if paused:
            self.keeper.hold()
            self.rungs.pause()
        self._died_ns: int | None = None
        self._sequence = sequence
        self._quiet_until: dict[str, float] = {}
        self._untold_misses = 0

    @property
    def options(self) -> Pipeline:
        """What it is now: as configured, but for what came with another model."""
        return self.models.options

    @property
    def rungs(self) -> Rungs:
        """The rungs of the model that it has now."""
        return self.models.rungs

    @property
    def shadowed(self) -> ShadowFigures | None:
        """How a model does that runs in shadow; None where none does."""
        return self.shadowing.figures

    def refuse_change(self) -> None:
        """Raise EdgeError while its worker prepares another model."""
        if self.models.changing or self.shadowing.preparing:
            raise EdgeError(f"{self.name} prepares another model already")

    @property
    def acceleration(self) -> Acceleration:
        """The accelerator of that model, and whether it has it."""
        return self.models.rungs.acceleration

    @property
    def standing(self) -> str:
        """The state, and what is missing, in a few words."""
        without = f", without the {self.acceleration.title}" * self.acceleration.on_cpu
        return f"{self.state}{without}"

    async def run(self) -> None:
        """Run until the source ends or `stop` is called."""
        self.models.look_after()
        await self.keeper.run()
        self.models.close()
        self.shadowing.worker_gone("the pipeline ends", may_return=True)
        await self.black_box.close()
        self.state = "ended" if self.state == "ended" else "stopped"
        self.outlet.changed()

    async def pause(self) -> None:
        """Finish the frame in hand, and let go of source and model until `resume`."""
        await self.keeper.pause()
        if self.keeper.ended or self.state == "paused":
            return
        self.models.fail("the pipeline was paused")
        self.shadowing.worker_gone("the pipeline was paused", may_return=True)
        self.rungs.pause()
        for source in self.sources:
            source.pause()
        self._died_ns = None
        self.close_window()
        self.state = "paused"
        self.outlet.changed()

    def resume(self) -> None:
        """Begin again; of the pause there is nothing in the figures."""
        if self.state == "paused":
            self.close_window()
            self.rungs.resume()
            self.state = "starting"
            self.keeper.resume()
            self.outlet.changed()

    async def stop(self) -> None:
        """Finish the frame in hand and end."""
        await self.keeper.stop()

    def _take(self, record: Record) -> None:
        """Take in one record of the worker."""
        if isinstance(record, (Done, Late)):
            self.models.heard(record)
            if self.models.rungs_of(record) is self.rungs and (
                self.rungs.heard(record) or self.acceleration.heard(record)
            ):
                self.on_another_way()
            source = self.sources[record.source]
            source.frame_came(record.captured_ns)
        if isinstance(record, Done):
            self._result(record, source)
        elif isinstance(record, Late):
            blamed = source.figures.late(record.stages_ns)
            self._judged(blamed, record, source, "dropped unrun")
        elif isinstance(record, Beat):
            counts = zip(record.replaced, record.lost, record.skipped, strict=True)
            for source, (replaced, lost, skipped) in zip(self.sources, counts, strict=True):
                source.take_counts(replaced=replaced, lost=lost, skipped=skipped)
            self.models.beat()
            self.shadowing.beat(record)
        elif isinstance(record, Note):
            self._note(record)
        elif isinstance(record, (Ready, Refused)):
            self.models.answered(record)
        elif isinstance(record, Shadowed):
            self.shadowing.heard(record)
        elif isinstance(record, Picture):
            self.looking.came(record)
        elif isinstance(record, Failed) and not self.acceleration.spares(record):
            self.state = "failed"
            self.tell("pipeline_failed", record.message, level=logging.ERROR, error=record.error)
            self.watch.failed(record.message)
            self.outlet.changed()
        elif isinstance(record, Ended):
            self.state = "ended"
            self.tell("source_ended", f"it is done: {self.keeper.answered} frames were answered")

    def began(self, ready: Ready) -> None:
        """Take in that the worker serves its model; it says so of each rung and accelerator."""
        if self.state == "running":
            return
        self.state = "running"
        self.tell(
            "model_loaded",
            f"{self.rungs.options.model.path.name} runs on {ready.engine} {ready.engine_version} "
            f"({ready.engine_reason})",
            **loaded(ready),
        )
        if self._died_ns is not None:
            away_s = round((time.monotonic_ns() - self._died_ns) / 1e9, 3)
            self._died_ns = None
            self.tell("worker_restarted", f"back after {away_s:g} s", away_s=away_s)
        self.watch.ready(ready)
        self.shadowing.worker_ready()
        self.outlet.changed()

    def _result(self, done: Done, source: SupervisedSource) -> None:
        take_in = source.figures.hit if done.cached else source.figures.result
        blamed = take_in(done.stages_ns)
        self._judged(blamed, done, source, "answered late")
        self.outlet.answered(self.name, source.name, done.predictions)
        if source.worth_publishing(done, self.options.publish):
            self._publish(done, source, met=blamed is None)
        elif self._awaited:
            self.keeper.accepted(done.frame)

    def _judged(
        self, blamed: str | None, record: Done | Late, source: SupervisedSource, what: str
    ) -> None:
        """Tell of a missed deadline, but not of each when they come in crowds."""
        self.black_box.judged(record.source, record.frame, missed=blamed is not None)
        if self.models.rungs_of(record) is self.rungs:
            self.rungs.judged(record, missed=blamed is not None)
            self.watch.judged(blamed is not None)
        if blamed is None:
            return
        self._untold_misses += 1
        if not self._may_tell("deadline_missed", MISS_EVENTS_EVERY_S):
            return
        end_ns = record.decoded_ns if isinstance(record, Done) else record.taken_ns
        took_ms = round((end_ns - record.captured_ns) / 1e6, 3)
        misses, self._untold_misses = self._untold_misses, 0
        self.tell(
            "deadline_missed",
            f"frame {record.frame}{'' if self._alone else f' of {source.name}'} was {what}, "
            f"{took_ms:g} ms after its capture (deadline {source.deadline_ms:g} ms); most of it "
            f"went to {blamed}",
            level=logging.WARNING,
            source=source.name,
            frame=record.frame,
            took_ms=took_ms,
            blame=blamed,
            misses_since_last_event=misses,
        )

    def _publish(self, done: Done, source: SupervisedSource, *, met: bool) -> None:
        result = result_of(self, source, done, next(self._sequence), met=met)
        self._answer(done, result)
        captured_ns, hit = done.captured_ns, done.cached is not None

        def acknowledged() -> None:
            source.figures.acknowledged(time.monotonic_ns() - captured_ns, hit=hit)

        accepted = partial(self.keeper.accepted, done.frame) if self._awaited else None
        self.outlet.send(result, acknowledged=acknowledged, accepted=accepted)

    def _answer(self, done: Done, result: Result) -> None:
        """Send a result also to where its frame's sender asked for it."""
        _, topic, correlation, _ = done.asked or ("", None, None, None)
        if topic is None:
            return
        if why := why_no_answer(topic, self.outlet.base_topic):
            if self._may_tell("answer_refused", FAILURE_EVENTS_EVERY_S):
                self.tell("answer_refused", f"a frame asks for an answer {why}", frame=done.frame)
            return
        self.outlet.put(Outgoing(topic, result.to_json(), correlation, worth=result.worth))

    def _note(self, note: Note) -> None:
        event: Any = note.event
        if event == "frame_failed":
            names = [source.name for source in self.sources]
            at = names.index(note.details["source"]) if "source" in note.details else 0
            self.sources[at].figures.failed()
            if self._awaited:
                self.keeper.accepted(note.details["frame"])
            if self.options.live and not self._may_tell(event, FAILURE_EVENTS_EVERY_S):
                return
        if event == "source_lost":
            self.rungs.source_lost(note.message)
        level = logging.INFO if event == "source_back" else logging.WARNING
        self.tell(event, note.message, level=level, **note.details)

    def close_window(self) -> None:
        """Publish the figures of what is left, a rung or a model: no window mixes two."""
        self.outlet.send(self.metrics())

    def on_another_way(self) -> None:
        """Judge by another rung, accelerator or model from now on, and start workers with it."""
        for source in self.sources:
            source.on_rung(self.rungs.rung, self.rungs.options, self.rungs.revision)
        self.keeper.next_is(self.rungs)
        self.outlet.changed()

    async def _before_start(self) -> Failed | None:
        """See that the accelerator can be used, where there is one, before a worker needs it."""
        try:
            self.models.starting()
        except ConfigError as error:
            return Failed("ConfigError", str(error))
        failed = await self.acceleration.prove()
        self.keeper.next_is(self.rungs)
        self.outlet.changed()
        return failed

    def take_accelerator_back(self) -> bool | None:
        """Have the worker go over to it; see `Acceleration`."""
        return self.rungs.accelerate() if self.keeper.pid is not None else None

    def _worker_ended(self, how: str) -> bool:
        """Do without the accelerator where it ended the worker; True where another can start."""
        keeper = self.keeper
        return self.acceleration.ended(keeper.failure, how, stuck=keeper.stuck, ready=keeper.ready)

    def _worker_died(self, how: str, last_words: list[str], pause_s: float) -> None:
        self.models.fail(f"the worker ended: {how}")
        self.rungs.worker_died()
        self._died_ns = self._died_ns or time.monotonic_ns()
        for source in self.sources:
            source.worker_died()
        if self.state == "failed" or self.keeper.failure is not None:
            self.shadowing.worker_gone("the worker ended")
        if self.state == "failed":
            return  # it has said itself why
        self.state = "starting"
        if self.keeper.failure is not None:
            return  # the accelerator did
        self.black_box.worker_died(how)
        self.watch.died(how)
        self.shadowing.worker_gone(f"the worker ended: {how}")
        when = f"in {pause_s:g} s" if pause_s else "now"
        self.tell(
            "worker_died",
            f"the worker ended: {how}; starting another {when}",
            level=logging.ERROR,
            how=how,
            restarts=self.keeper.restarts + 1,
            last_words=last_words,
        )
        self.outlet.changed()

    def _worker_said(self, line: str) -> None:
        level = logging.DEBUG if line.startswith("INFO:") else logging.WARNING
        log(level, "worker_output", line, pipeline=self.name)

    def _may_tell(self, event: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._quiet_until.get(event, 0):
            return False
        self._quiet_until[event] = now + every_s
        return True

    def tell(self, event: Any, message: str, *, level: int = logging.INFO, **details: Any) -> None:
        """Tell of something that has happened to the pipeline."""
        self.outlet.tell(event, message, pipeline=self.name, level=level, **details)

    def metrics(self) -> Metrics:
        """Close the window of figures and return its message."""
        now_ns = time.monotonic_ns()
        sources = None
        if not self._alone:
            for source in self.sources:
                self.figures.add(source.figures)
            sources = {
                source.name: source.in_metrics(source.figures.end_window(now_ns))
                for source in self.sources
            }
        return metrics(self, self.figures.end_window(now_ns), sources)
