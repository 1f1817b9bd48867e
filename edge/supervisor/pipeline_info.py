"""One pipeline as it stands in what is published of it: info, answers, a part of the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.commands import Reached
from edge.messages import CacheFigures, EngineInfo, ModelInfo, PipelineInfo
from edge.supervisor.steering import value_of

if TYPE_CHECKING:
    from edge.latency.figures import Counts, Window
    from edge.supervisor.pipeline import SupervisedPipeline


def pipeline_info(pipeline: SupervisedPipeline) -> PipelineInfo:
    """Return the pipeline as it stands in the info message."""
    options, rungs = pipeline.options, pipeline.rungs
    ready, model = rungs.ready, rungs.options.model
    return PipelineInfo(
        state=pipeline.state,
        overrides=pipeline.overrides,
        sources={name: each.type for name, each in options.all_sources.items()},
        deadline_ms=options.deadline_ms,
        on_late=options.on_late,
        decoder=options.decode.type,
        rung=rungs.rung,
        rungs=rungs.names,
        model=ready
        and ModelInfo(
            file=model.path.name,
            digest=ready.digest,
            size_bytes=ready.size_bytes,
            inputs=ready.inputs,
            outputs=ready.outputs,
        ),
        engine=ready
        and EngineInfo(
            name=ready.engine,
            version=ready.engine_version,
            reason=ready.engine_reason,
            threads=ready.threads,
            init_ms=ready.init_ms,
            first_invoke_ms=ready.first_invoke_ms,
            warm_up_frames=ready.warm_up_frames,
            batch=ready.batch,
        ),
    )


def reached(pipeline: SupervisedPipeline) -> Reached:
    """Return the pipeline as it stands in the answer to a command."""
    return Reached(
        state=pipeline.state,
        deadline_ms=pipeline.options.deadline_ms,
        threshold=value_of(pipeline.options, "threshold"),
        overrides=pipeline.overrides,
    )


def cache_figures(window: Window, total: Counts) -> CacheFigures:
    """Return what the cache did in a window, and in all."""
    counts = window.counts
    return CacheFigures(
        hits=counts.hits,
        hits_total=total.hits,
        misses=counts.frames - counts.hits,
        misses_total=total.frames - total.hits,
        latency_ms=window.hits,
        latency_total_ms=window.hits_total,
        acknowledged_ms=window.hits_acknowledged,
    )
