"""A model that runs in the shadow of the one that serves: asked for, counted, ended or lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge.errors import ConfigError, EdgeError
from edge.latency.figures import percentiles
from edge.latency.histogram import Histogram
from edge.messages import ShadowFigures
from edge.supervisor.keeper import start_limit_s
from edge.supervisor.models import refuse_unfit
from edge.supervisor.trial import error_of
from edge.wire import Accompany, Failed, Ready, Refused

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.rungs import Rungs
    from edge.wire import Beat, Shadowed


class Shadowing:
    """The model in the shadow of one pipeline's; there is one at a time, or none.

    It ends with its worker. After a pause it is begun again; after a death, of which it may be
    the cause, it is not.
    """

    def __init__(self, pipeline: SupervisedPipeline) -> None:
        self._pipeline = pipeline
        self._shadow: _Shadow | None = None

    def rungs_of(self, candidate: Pipeline) -> Rungs | None:
        """Return the rungs of a candidate that runs in shadow; None where this one does not."""
        shadow = self._shadow
        if shadow is None or shadow.ready is None or shadow.candidate != candidate:
            return None
        return shadow.rungs

    async def begin(self, candidate: Pipeline, share: float) -> Ready:
        """Run a model on a share of the frames, 0 to 1, after the serving one has answered them.

        Returns when it is ready. Raises ConfigError where it differs in more than a swap can
        change, or where its answers cannot be compared, and EdgeError where it cannot run.
        """
        pipeline = self._pipeline
        refuse_unfit(pipeline.options, candidate)
        _refuse_incomparable(pipeline.options, candidate)
        if not 0 < share <= 1:
            raise ConfigError(f"the share of the frames must be above 0 and at most 1, not {share}")
        pipeline.refuse_change()
        if self._shadow is not None:
            raise EdgeError(f"{pipeline.name} has a model in shadow already")
        rungs = pipeline.models.stand(candidate, like=pipeline.rungs)
        shadow = self._shadow = _Shadow(candidate, share, rungs)
        try:
            if failed := await rungs.acceleration.prove():
                raise error_of(failed)
            wanted = self._shadow is shadow  # or it was ended meanwhile
            if wanted and (pipeline.state != "running" or not self._ask(shadow)):
                raise EdgeError(f"{pipeline.name} is {pipeline.state}: nothing can run in shadow")
            limit_s = start_limit_s(rungs.options)
            return await asyncio.wait_for(asyncio.shield(shadow.outcome), limit_s)
        except asyncio.TimeoutError:
            pipeline.keeper.kill()  # its thread for such things hangs
            raise EdgeError(f"{candidate.model.path}: not ready after {limit_s:g} s") from None
        finally:
            if shadow.ready is None and self._shadow is shadow:
                self.end()

    def _ask(self, shadow: _Shadow) -> bool:
        rungs = shadow.rungs
        told = rungs.options.model_dump_json()
        return self._pipeline.keeper.ask(Accompany(rungs.rung, told, rungs.revision, shadow.share))

    def end(self) -> None:
        """End it, if there is any."""
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.refuse("it was ended before it was ready")
            self._pipeline.keeper.ask(Accompany(0, "", shadow.rungs.revision, 0))
            self._pipeline.outlet.changed()

    @property
    def preparing(self) -> bool:
        """Whether it is being prepared."""
        return self._shadow is not None and not self._shadow.outcome.done()

    def owns(self, record: Ready | Refused | Shadowed) -> bool:
        """Whether a record is about the model in shadow."""
        return self._shadow is not None and record.revision == self._shadow.rungs.revision

    def answered(self, record: Ready | Refused) -> None:
        """Take in that it is ready, or will never be."""
        shadow = self._shadow
        assert shadow is not None  # noqa: S101  it owns the record
        if isinstance(record, Ready):
            shadow.ready, shadow.in_worker = record, True
            if not shadow.outcome.done():
                shadow.outcome.set_result(record)
            self._pipeline.outlet.changed()
        elif shadow.outcome.done():
            self._lost(record.message)
        else:
            self._shadow = None
            shadow.outcome.set_exception(error_of(Failed(record.error, record.message)))

    def heard(self, record: Shadowed) -> None:
        """Take in what it has said of a frame, and how that compares."""
        shadow = self._shadow
        if shadow is None or not self.owns(record):
            return  # it was ended meanwhile
        shadow.frames += 1
        if record.agreed is None:
            shadow.failed += 1
            shadow.failure = record.failure
            return
        shadow.agreed += record.agreed
        shadow.inference.record(record.inference_ns // 1000)
        shadow.serving.record(record.served_ns // 1000)

    def beat(self, beat: Beat) -> None:
        """Take in for how many frames there was no time."""
        shadow = self._shadow
        if shadow is not None and shadow.in_worker:
            shadow.skipped_now = beat.unshadowed

    def worker_gone(self, why: str, *, may_return: bool = False) -> None:
        """Take in that there is no worker; where it `may_return` the next one has it again."""
        shadow = self._shadow
        if shadow is None:
            return
        shadow.leave_worker()
        if self.preparing:
            self._shadow = None
            shadow.refuse(why)
        elif not may_return:
            self._lost(why)

    def worker_ready(self) -> None:
        """Take in that there is a worker again."""
        if self._shadow is not None and not self._shadow.in_worker:
            self._ask(self._shadow)

    def model_changed(self) -> None:
        """Take in that another model serves: the worker has ended what was in its shadow."""
        self._shadow = None

    def _lost(self, why: str) -> None:
        shadow, self._shadow = self._shadow, None
        assert shadow is not None  # noqa: S101  as told by who calls
        self._pipeline.tell(
            "shadow_lost",
            f"{shadow.name} runs no more in shadow: {why}",
            level=logging.ERROR,
            digest=shadow.ready and shadow.ready.digest,
        )
        self._pipeline.watch.shadow_lost(why)
        self._pipeline.outlet.changed()

    @property
    def figures(self) -> ShadowFigures | None:
        """What is known of it; None where none runs."""
        shadow = self._shadow
        return None if shadow is None or shadow.ready is None else shadow.figures(shadow.ready)


class _Shadow:
    """One model in shadow, from the asking to its end."""

    def __init__(self, candidate: Pipeline, share: float, rungs: Rungs) -> None:
        self.candidate = candidate
        self.name = candidate.model.path.name
        self.share = share
        self.rungs = rungs
        self.ready: Ready | None = None
        self.in_worker = False
        self.frames = self.agreed = self.failed = 0
        self.failure = ""
        self.skipped_now = self._skipped_before = 0
        self.inference, self.serving = Histogram(), Histogram()
        self.outcome: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        # Who awaits it may have gone.
        self.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())

    def refuse(self, why: str) -> None:
        """Have it that it never ran, unless it has."""
        if not self.outcome.done():
            self.outcome.set_exception(EdgeError(f"{self.name} does not run in shadow: {why}"))

    def leave_worker(self) -> None:
        """Take in that the next worker counts from 0."""
        self.in_worker = False
        self._skipped_before += self.skipped_now
        self.skipped_now = 0

    def figures(self, ready: Ready) -> ShadowFigures:
        compared = self.frames - self.failed
        return ShadowFigures(
            model=self.rungs.options.model.path.name,
            model_digest=ready.digest,
            share=self.share,
            frames=self.frames,
            agreed=self.agreed,
            agreement=round(self.agreed / compared, 4) if compared else None,
            skipped=self._skipped_before + self.skipped_now,
            failed=self.failed,
            failure=self.failure or None,
            inference_ms=percentiles(self.inference),
            serving_inference_ms=percentiles(self.serving),
        )


def _refuse_incomparable(present: Pipeline, candidate: Pipeline) -> None:
    if candidate.decode.type != present.decode.type:
        raise ConfigError(
            f"what `decode: {{type: {candidate.decode.type}}}` says cannot be compared with "
            f"`{present.decode.type}`: swap the model without a shadow"
        )
