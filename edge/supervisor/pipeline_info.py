"""One pipeline as it stands in what is told of it: info, answers, traces, a part of the metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge.commands import Reached
from edge.info_parts import EngineInfo, GoldenInfo, ModelInfo
from edge.messages import CacheFigures, Metrics, PipelineInfo
from edge.supervisor import clock
from edge.supervisor.memory import rss_bytes
from edge.supervisor.steering import value_of
from edge.supervisor.story import Facts

if TYPE_CHECKING:
    from edge.latency.figures import Counts, Window
    from edge.messages import SourceFigures
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.update_info import UpdateInfo
    from edge.wire import Ready


def pipeline_info(pipeline: SupervisedPipeline, update: UpdateInfo | None) -> PipelineInfo:
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
            golden=GoldenInfo(**ready.golden) if ready.golden else None,  # type: ignore[arg-type]
        ),
        accelerator=pipeline.acceleration.info(),
        update=update,
    )


def loaded(ready: Ready) -> dict[str, Any]:
    """Return the details of the event that tells of a loaded model."""
    details = {
        "threads": ready.threads,
        "digest": ready.digest,
        "init_ms": ready.init_ms,
        "first_invoke_ms": ready.first_invoke_ms,
    }
    return details if ready.golden is None else details | {"golden": ready.golden}


def facts(pipeline: SupervisedPipeline) -> Facts:
    """Return what a trace says of where it comes from."""
    about = {"model": pipeline.rungs.options.model.path.name}
    if ready := pipeline.rungs.ready:
        threads = f"{ready.threads} thread{'s' * (ready.threads != 1)}"
        about["engine"] = f"{ready.engine} {ready.engine_version}, {threads}"
    outlet = pipeline.outlet
    return Facts(
        device=outlet.device,
        boot=outlet.boot,
        pipeline=pipeline.name,
        at=clock.utc(),
        clock_synced=outlet.clock_synced,
        about=about,
        sources=[source.name for source in pipeline.sources],
        deadlines_ms=[source.deadline_ms for source in pipeline.sources],
        end_ns=time.monotonic_ns(),
    )


def reached(pipeline: SupervisedPipeline) -> Reached:
    """Return the pipeline as it stands in the answer to a command."""
    return Reached(
        state=pipeline.state,
        deadline_ms=pipeline.options.deadline_ms,
        threshold=value_of(pipeline.options, "threshold"),
        overrides=pipeline.overrides,
    )


def metrics(
    pipeline: SupervisedPipeline, window: Window, sources: dict[str, SourceFigures] | None
) -> Metrics:
    """Return the metrics message about a window that has ended."""
    total = pipeline.figures.total
    pid = pipeline.keeper.pid
    return Metrics(
        device=pipeline.outlet.device,
        boot=pipeline.outlet.boot,
        pipeline=pipeline.name,
        state=pipeline.state,
        at=clock.utc(),
        clock_synced=pipeline.outlet.clock_synced,
        window_s=round(window.seconds, 3),
        frames=window.counts.frames,
        frames_total=total.frames,
        fps=window.fps,
        dropped=window.counts.drops(),
        dropped_total=total.drops(),
        failed=window.counts.failed,
        failed_total=total.failed,
        deadline_ms=pipeline.options.deadline_ms,
        deadline_misses=window.counts.misses,
        deadline_misses_total=total.misses,
        deadline_blame=window.blamed,
        latency_ms=window.latency,
        latency_recent_ms=window.recent,
        latency_total_ms=window.total,
        stages_ms=window.stages,
        acknowledged_ms=window.acknowledged,
        cache=_cache_figures(window, total) if pipeline.rungs.any_cache else None,
        sources=sources,
        rung=pipeline.rungs.rung,
        rung_name=pipeline.rungs.names[pipeline.rungs.rung],
        ladder=pipeline.rungs.figures(),
        accelerator=pipeline.acceleration.figures(),
        shadow=pipeline.shadowed,
        rss_bytes=rss_bytes(pid) if pid is not None else None,
        supervisor_rss_bytes=rss_bytes("self") or 0,
        temperature_c=pipeline.sensors.temperature_c,
        waiting=pipeline.outlet.waiting,
        spooled=pipeline.outlet.spooled,
        undelivered_total=pipeline.outlet.given_up,
    )


def _cache_figures(window: Window, total: Counts) -> CacheFigures:
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
