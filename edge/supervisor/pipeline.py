"""One pipeline as the supervisor sees it: its records become figures, results and events."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from edge.config.ladder import pipeline_on_each_rung
from edge.latency.figures import Figures
from edge.messages import Metrics, Result, SourceResult
from edge.result_parts import Cached, Latency
from edge.spool.message import Outgoing
from edge.supervisor import clock
from edge.supervisor.acceleration import Acceleration
from edge.supervisor.black_box import BlackBox
from edge.supervisor.keeper import Keeper
from edge.supervisor.log import log
from edge.supervisor.looking import Looking
from edge.supervisor.pipeline_info import facts, loaded, metrics
from edge.supervisor.requests import requested, why_no_answer
from edge.supervisor.rungs import Rungs
from edge.supervisor.source import SupervisedSource
from edge.wire import Beat, Done, Ended, Failed, Late, Note, Picture, Ready, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.config.pipeline import Pipeline
    from edge.supervisor.black_box import Archive
    from edge.supervisor.outlet import Outlet
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
    ) -> None:
        """`sequence` numbers the published results; it and the `archive` outlive a reload.

        `overrides` tells what of the options is not the YAML's; `first_frames` are the numbers
        that the sources go on with; `broker` is what its workers are told of the broker, where
        their frames come from it.
        """
        self.name = name
        self.options = options
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
        self.black_box = BlackBox(self.keeper, archive, partial(facts, self), self._tell)
        self.acceleration = Acceleration(
            pipeline_on_each_rung(options),
            tell=self._tell,
            leave=self._close_window,
            take_back=self._take_accelerator_back,
            give_up=self.keeper.kill,
        )
        self.rungs = Rungs(
            options,
            ask=self.keeper.ask,
            leave=self._close_window,
            tell=self._tell,
            acceleration=self.acceleration,
            sensors=archive.sensors.sensors,
        )
        self.looking = Looking(self.keeper.ask)
        if paused:
            self.keeper.hold()
            self.rungs.pause()
        self._died_ns: int | None = None
        self._sequence = sequence
        self._quiet_until: dict[str, float] = {}
        self._untold_misses = 0

    @property
    def standing(self) -> str:
        """The state, and what is missing, in a few words."""
        without = f", without the {self.acceleration.title}" * self.acceleration.on_cpu
        return f"{self.state}{without}"

    async def run(self) -> None:
        """Run until the source ends or `stop` is called."""
        watches = [
            asyncio.create_task(watch()) for watch in (self.rungs.watch, self.acceleration.watch)
        ]
        await self.keeper.run()
        for watch in watches:
            watch.cancel()
        await self.black_box.close()
        self.state = "ended" if self.state == "ended" else "stopped"
        self.outlet.changed()

    async def pause(self) -> None:
        """Finish the frame in hand, and let go of source and model until `resume`."""
        await self.keeper.pause()
        if self.keeper.ended or self.state == "paused":
            return
        self.rungs.pause()
        for source in self.sources:
            source.pause()
        self._died_ns = None
        self._close_window()
        self.state = "paused"
        self.outlet.changed()

    def resume(self) -> None:
        """Begin again; of the pause there is nothing in the figures."""
        if self.state == "paused":
            self._close_window()
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
            if self.rungs.heard(record) or self.acceleration.heard(record):
                self._on_another_way()
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
        elif isinstance(record, Note):
            self._note(record)
        elif isinstance(record, Ready):
            self.rungs.prepared(record)
            self.acceleration.ready(record)
            if self.state != "running":
                self._started(record)
        elif isinstance(record, Picture):
            self.looking.came(record)
        elif isinstance(record, Refused):
            if record.accelerated and self.acceleration.on_cpu:
                self.acceleration.refused(record.message)
            else:
                self.rungs.refused(record)
        elif isinstance(record, Failed) and not self.acceleration.spares(record):
            self.state = "failed"
            self._tell("pipeline_failed", record.message, level=logging.ERROR, error=record.error)
            self.outlet.changed()
        elif isinstance(record, Ended):
            self.state = "ended"
            self._tell("source_ended", f"it is done: {self.keeper.answered} frames were answered")

    def _started(self, ready: Ready) -> None:
        self.state = "running"
        self._tell(
            "model_loaded",
            f"{self.rungs.options.model.path.name} runs on {ready.engine} {ready.engine_version} "
            f"({ready.engine_reason})",
            **loaded(ready),
        )
        if self._died_ns is not None:
            away_s = round((time.monotonic_ns() - self._died_ns) / 1e9, 3)
            self._died_ns = None
            self._tell("worker_restarted", f"back after {away_s:g} s", away_s=away_s)
        self.outlet.changed()

    def _result(self, done: Done, source: SupervisedSource) -> None:
        stages_ns = done.stages_ns
        take_in = source.figures.hit if done.cached else source.figures.result
        blamed = take_in(stages_ns)
        self._judged(blamed, done, source, "answered late")
        self.outlet.answered(self.name, source.name, done.predictions)
        if source.worth_publishing(done, self.options.publish):
            self._publish(done, source, stages_ns, met=blamed is None)
        elif self._awaited:
            self.keeper.accepted(done.frame)

    def _judged(
        self, blamed: str | None, record: Done | Late, source: SupervisedSource, what: str
    ) -> None:
        """Tell of a missed deadline, but not of each when they come in crowds."""
        self.black_box.judged(record.source, record.frame, missed=blamed is not None)
        self.rungs.judged(record, missed=blamed is not None)
        if blamed is None:
            return
        self._untold_misses += 1
        if not self._may_tell("deadline_missed", MISS_EVENTS_EVERY_S):
            return
        end_ns = record.decoded_ns if isinstance(record, Done) else record.taken_ns
        took_ms = round((end_ns - record.captured_ns) / 1e6, 3)
        misses, self._untold_misses = self._untold_misses, 0
        self._tell(
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

    def _publish(
        self, done: Done, source: SupervisedSource, stages_ns: dict[str, int], *, met: bool
    ) -> None:
        outlet = self.outlet
        rung_name, options, ready = self.rungs.of(done)
        result = (Result if self._alone else SourceResult)(
            device=outlet.device,
            boot=outlet.boot,
            pipeline=self.name,
            source=source.name,
            sequence=next(self._sequence),
            frame=done.frame,
            file=done.name or None,
            captured_at=clock.utc(done.captured_ns),
            clock_synced=outlet.clock_synced,
            model=options.model.path.name,
            model_digest=ready.digest,
            rung=done.rung,
            rung_name=rung_name,
            predictions=done.predictions,
            truth=done.truth,
            cached=self._cached(done),
            batch=done.batch,
            latency_ms=Latency(
                total=_milliseconds(done.decoded_ns - done.captured_ns),
                **{stage: _milliseconds(spent_ns) for stage, spent_ns in stages_ns.items()},
            ),
            deadline_ms=source.deadline_ms,
            deadline_met=met,
            request=requested(done),
        )
        self._answer(done, result)
        captured_ns, hit = done.captured_ns, done.cached is not None

        def acknowledged() -> None:
            source.figures.acknowledged(time.monotonic_ns() - captured_ns, hit=hit)

        accepted = partial(self.keeper.accepted, done.frame) if self._awaited else None
        outlet.send(result, acknowledged=acknowledged, accepted=accepted)

    def _answer(self, done: Done, result: Result) -> None:
        """Send a result also to where its frame's sender asked for it."""
        _, topic, correlation, _ = done.asked or ("", None, None, None)
        if topic is None:
            return
        if why := why_no_answer(topic, self.outlet.base_topic):
            if self._may_tell("answer_refused", FAILURE_EVENTS_EVERY_S):
                self._tell("answer_refused", f"a frame asks for an answer {why}", frame=done.frame)
            return
        self.outlet.put(Outgoing(topic, result.to_json(), correlation, worth=result.worth))

    def _cached(self, done: Done) -> Cached | None:
        if done.cached is None:
            return None
        frame, age_ns, similarity, source = done.cached
        age_ms, name = _milliseconds(age_ns), self.sources[source].name
        return Cached(frame=frame, source=name, age_ms=age_ms, similarity=similarity)

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
        self._tell(event, note.message, level=level, **note.details)

    def _close_window(self) -> None:
        """Publish the figures of the rung that is left: no window mixes two."""
        self.outlet.send(self.metrics())

    def _on_another_way(self) -> None:
        for source in self.sources:
            source.on_rung(self.rungs.rung, self.rungs.options)
        self.keeper.options, self.keeper.rung = self.rungs.options, self.rungs.rung
        self.outlet.changed()

    async def _before_start(self) -> Failed | None:
        """See that the accelerator can be used, where there is one, before a worker needs it."""
        failed = await self.acceleration.prove()
        self.keeper.options = self.rungs.options
        self.outlet.changed()
        return failed

    def _take_accelerator_back(self) -> bool | None:
        return self.rungs.accelerate() if self.keeper.pid is not None else None

    def _worker_ended(self, how: str) -> bool:
        """Do without the accelerator where it ended the worker; True where another can start."""
        keeper = self.keeper
        return self.acceleration.ended(keeper.failure, how, stuck=keeper.stuck, ready=keeper.ready)

    def _worker_died(self, how: str, last_words: list[str], pause_s: float) -> None:
        self.rungs.worker_died()
        self._died_ns = self._died_ns or time.monotonic_ns()
        for source in self.sources:
            source.worker_died()
        if self.state == "failed":
            return  # it has said itself why
        self.state = "starting"
        if self.keeper.failure is not None:
            return  # the accelerator did
        self.black_box.worker_died(how)
        when = f"in {pause_s:g} s" if pause_s else "now"
        self._tell(
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

    def _tell(self, event: Any, message: str, *, level: int = logging.INFO, **details: Any) -> None:
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


def _milliseconds(ns: int) -> float:
    return round(ns / 1e6, 3)
