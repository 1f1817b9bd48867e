"""The way of one update: fetched, tried, in the shadow, on probation, good; or given up on it.

Each step is written down before it is taken. Whatever ends the daemon, the next one goes on with
the step that stands there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from edge.errors import EdgeError
from edge.supervisor.log import log
from edge.supervisor.updates import policy
from edge.supervisor.updates.book import given_up
from edge.supervisor.updates.candidate import differences
from edge.supervisor.updates.fetching import take
from edge.supervisor.updates.serving import Beside, serve
from edge.supervisor.updates.trying import try_out

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edge.config.canary import Canary
    from edge.config.pipeline import Pipeline
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.updates.book import Book
    from edge.supervisor.updates.records import Release, Update
    from edge.supervisor.updates.watch import Watch

T = TypeVar("T")
LOOK_EVERY_S = 0.5
TELL_EVERY_S = 2.0


class GivenUpError(Exception):
    """An update comes to its end, and not to a good one; the message says why."""

    def __init__(self, why: str, **evidence: Any) -> None:
        super().__init__(why)
        self.evidence = evidence


class Steps:
    """One update on its way."""

    def __init__(self, name: str, book: Book, watch: Watch) -> None:
        """Begin where the record says it is."""
        self.name = name
        self._book = book
        self._watch = watch
        self._abandoned: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._promoted_by_command = False
        self._beside = Beside()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def abandon(self, why: str) -> None:
        """Give it up, in whatever step it is."""
        if not self._abandoned.done():
            self._abandoned.set_result(why)
        self._watch.look.set()

    def promote(self) -> None:
        """Promote the model in the shadow without waiting any longer."""
        self._promoted_by_command = True
        self._watch.look.set()

    @property
    def _update(self) -> Update:
        return self._book.store.updates[self.name]

    @property
    def _candidate(self) -> Release:
        release = self._update.candidate
        assert release is not None  # noqa: S101  from the second step on there is one
        return release

    @property
    def _pipeline(self) -> SupervisedPipeline:
        pipeline = self._book.host.pipelines.get(self.name)
        if pipeline is None or pipeline.state in ("ended", "stopped"):
            raise GivenUpError("the pipeline has ended")
        return pipeline

    async def _run(self) -> None:
        steps = {
            "fetching": self._fetch,
            "trying": self._try,
            "shadow": self._shadow,
            "probation": self._probation,
        }
        while (update := self._book.of(self.name)) and (step := steps.get(update.phase)):
            try:
                await step(update.canary)
            except GivenUpError as error:
                await self._give_up(str(error), error.evidence)
            except EdgeError as error:
                await self._give_up(str(error), {"error": type(error).__name__})

    async def _give_up(self, why: str, evidence: dict[str, Any]) -> None:
        update = self._update
        if update.phase != "probation":
            self._beside.end()
            self._book.end(given_up(update), self.name, update, why, **evidence)
            return
        async with self._book.host.changing:
            self._watch.forget()
            self._book.end("rolled_back", self.name, update, why, **evidence)
            await serve(self._book, self.name)  # the model beside is the one to go back to
            self._beside.end()

    def _write(self, update: Update) -> None:
        if why := self._book.remember(self.name, update):
            raise GivenUpError(f"the step cannot be written down: {why}")

    def _tell(self, event: Any, message: str, **details: Any) -> None:
        details = {"model": self._update.title, **details}
        self._book.host.outlet.tell(event, message, pipeline=self.name, **details)

    async def _unless_abandoned(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of it; where the update is abandoned first it is cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        waiting: set[asyncio.Future[Any]] = {task, self._abandoned}
        try:
            while not task.done():
                await asyncio.wait(
                    waiting, timeout=TELL_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                if self._abandoned.done() and not task.done():
                    raise GivenUpError(self._abandoned.result())
                self._book.host.outlet.changed()  # the info message tells how much has come
            return task.result()
        except EdgeError as error:
            raise GivenUpError(str(error), error=type(error).__name__) from None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    # Fetching and trying

    async def _fetch(self, canary: Canary) -> None:
        del canary
        update, device, store = self._update, self._book.host.device, self._book.store
        self._tell("update_fetching", f"{update.card} is fetched", url=update.card)
        try:
            folder = await asyncio.to_thread(store.incoming, self.name)
            resumed = update.starts > 0
            found = await self._unless_abandoned(
                take(update.card, folder, device.updates, patiently=resumed)
            )
            if update.good is not None and found.digest == update.good.digest:
                self._book.keep(self.name, update, found.title)
                return
            await asyncio.to_thread(store.adopt, folder, found.digest)
        except OSError as error:
            place = error.filename or store.folder
            raise GivenUpError(f"{place}: {error.strerror or error}") from None
        self._write(update.verified(found))
        self._tell(
            "update_verified",
            f"{found.title} is here, signed with the key {found.key_id}",
            digest=found.digest,
            key_id=found.key_id,
            model_digest=found.model_sha256,
            size_bytes=found.size_bytes,
        )

    async def _try(self, canary: Canary) -> None:
        pipeline, device = self._pipeline, self._book.host.device.device
        try:
            options = self._book.with_model(self.name, self._candidate)
            ready = await self._unless_abandoned(try_out(self.name, options, device=device))
            other = differences(pipeline.options, options, pipeline.rungs.ready, ready)
        except EdgeError as error:
            raise GivenUpError(str(error), error=type(error).__name__) from None
        if ready.digest != self._candidate.model_sha256:
            raise GivenUpError(f"{options.model.path.name} is not the file that was fetched")
        if other and canary.same_labels:
            raise GivenUpError(f"{other} (`same_labels`)")
        self._write(self._update.tried())
        golden = ready.golden
        words = "it opens"
        if golden is not None:
            words += ", and gives {vectors:g} golden answers within {worst_steps:g} steps"
            words = words.format(**golden)
        self._tell(
            "update_tried",
            f"{self._update.title}: {words}",
            engine=f"{ready.engine} {ready.engine_version}",
            inputs=ready.inputs,
            outputs=ready.outputs,
            init_ms=ready.init_ms,
            first_invoke_ms=ready.first_invoke_ms,
            golden=golden,
            other=other or None,
        )

    # Beside the model that serves

    async def _shadow(self, canary: Canary) -> None:
        self._watch.died_of = self._watch.lost = ""
        self._beside = Beside()
        if canary.frames:
            self._tell(
                "update_in_shadow",
                f"{self._update.title} runs beside, on a share of {canary.share:g} of the frames",
                share=canary.share,
                frames=canary.frames,
            )
        told_ready, seconds = False, 0.0
        while True:
            pipeline = self._pipeline
            if self._watch.died_of:
                raise GivenUpError(f"the worker died with it beside: {self._watch.died_of}")
            if self._watch.lost:
                raise GivenUpError(f"it does not run beside any more: {self._watch.lost}")
            if pipeline.state == "running":
                options = self._book.with_model(self.name, self._candidate)
                if canary.frames:
                    await self._unless_abandoned(self._beside.keep(pipeline, options, canary.share))
                verdict = policy.of_shadow(
                    canary,
                    self._beside.seen,
                    seconds=seconds,
                    deadline_ms=pipeline.options.deadline_ms,
                )
                if verdict.what == "back":
                    raise GivenUpError(verdict.why, **verdict.evidence)
                ready = verdict.what == "on"
                if self._promoted_by_command or (ready and canary.promote == "auto"):
                    if await self._promote(options, verdict):
                        return
                elif ready and not told_ready:
                    told_ready = True
                    self._tell(
                        "update_ready",
                        f"{self._update.title}: {verdict.why}; `promote-model` lets it serve",
                        **verdict.evidence,
                    )
            seconds += await self._look_later(pipeline)

    async def _look_later(self, pipeline: SupervisedPipeline) -> float:
        """Wait a moment; return the seconds in which the pipeline ran."""
        began = time.monotonic()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._watch.look.wait(), LOOK_EVERY_S)
        self._watch.look.clear()
        if self._abandoned.done():
            raise GivenUpError(self._abandoned.result())
        return time.monotonic() - began if pipeline.state == "running" else 0.0

    async def _promote(self, options: Pipeline, verdict: policy.Verdict) -> bool:
        """Let the candidate serve from between two frames on; False where that cannot be now."""
        host = self._book.host
        async with host.changing:
            pipeline = self._pipeline
            if pipeline.state != "running":
                return False
            before = self._watch.recent
            self._write(self._update.promoted(before))
            try:
                swapped = await pipeline.swap(options)
            except EdgeError as error:
                raise GivenUpError(f"it cannot take over: {error}") from None
        self._watch.forget()
        self._watch.counts = True
        by = "by command" if self._promoted_by_command else verdict.why
        gap = "" if swapped.gap_ms is None else f", {swapped.gap_ms:g} ms between two results"
        self._tell(
            "update_promoted",
            f"{self._update.title} serves: {by}; {swapped.frames_dropped} frames lost{gap}",
            why=by,
            gap_ms=swapped.gap_ms,
            frames_dropped=swapped.frames_dropped,
            prepared_ms=swapped.prepared_ms,
            probation_s=self._update.canary.probation_s,
            **verdict.evidence,
        )
        return True

    # On probation

    async def _probation(self, canary: Canary) -> None:
        """Watch over a promoted model; where no worker runs it, `Watch` takes it back."""
        update = self._update
        before = policy.Missed(update.before.frames, update.before.missed)
        self._beside, seconds, alone = Beside(), 0.0, False
        while self._book.of(self.name) is not None and self._update.phase == "probation":
            pipeline = self._pipeline
            former = self._book.with_model(self.name, update.good)
            if pipeline.state == "running" and pipeline.options != former:
                if canary.frames and not alone:
                    alone = not await self._former_is_beside(pipeline, former, canary)
                recent = self._watch.recent
                verdict = policy.of_probation(
                    canary,
                    before=before,
                    now=policy.Missed(recent.frames, recent.missed),
                    beside=self._beside.seen,
                    seconds=seconds,
                )
                if verdict.what == "back":
                    raise GivenUpError(verdict.why, **verdict.evidence)
                if verdict.what == "on":
                    self._beside.end()
                    self._book.end("good", self.name, self._update, verdict.why, **verdict.evidence)
                    return
            seconds += await self._look_later(pipeline)

    async def _former_is_beside(
        self, pipeline: SupervisedPipeline, former: Pipeline, canary: Canary
    ) -> bool:
        """Keep the former model in the shadow; False where it cannot be had there."""
        try:
            await self._unless_abandoned(self._beside.keep(pipeline, former, canary.share))
        except GivenUpError as error:
            if self._abandoned.done():
                raise
            log(logging.WARNING, "no_shadow", f"of the former model: {error}", pipeline=self.name)
            return False
        return True
