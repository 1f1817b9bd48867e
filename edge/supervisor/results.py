"""What the model said of one frame, as it is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.messages import Result, SourceResult
from edge.result_parts import Cached, Latency
from edge.supervisor import clock
from edge.supervisor.requests import requested

if TYPE_CHECKING:
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.source import SupervisedSource
    from edge.wire import Done


def result_of(
    pipeline: SupervisedPipeline, source: SupervisedSource, done: Done, sequence: int, *, met: bool
) -> Result:
    """Return the message about a frame; `met` tells whether it kept its deadline."""
    outlet = pipeline.outlet
    rung_name, options, ready = pipeline.models.rungs_of(done).of(done)
    return (Result if len(pipeline.sources) == 1 else SourceResult)(
        device=outlet.device,
        boot=outlet.boot,
        pipeline=pipeline.name,
        source=source.name,
        sequence=sequence,
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
        cached=_cached(pipeline, done),
        batch=done.batch,
        latency_ms=Latency(
            total=_milliseconds(done.decoded_ns - done.captured_ns),
            **{stage: _milliseconds(spent_ns) for stage, spent_ns in done.stages_ns.items()},
        ),
        deadline_ms=source.deadline_ms,
        deadline_met=met,
        request=requested(done),
    )


def _cached(pipeline: SupervisedPipeline, done: Done) -> Cached | None:
    if done.cached is None:
        return None
    frame, age_ns, similarity, source = done.cached
    name = pipeline.sources[source].name
    return Cached(frame=frame, source=name, age_ms=_milliseconds(age_ns), similarity=similarity)


def _milliseconds(ns: int) -> float:
    return round(ns / 1e6, 3)
