"""What the info message says of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edge.messages import EngineInfo, ModelInfo, PipelineInfo

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.supervisor.rungs import Rungs

State = Literal["starting", "running", "failed", "ended", "stopped"]


def pipeline_info(options: Pipeline, rungs: Rungs, state: State) -> PipelineInfo:
    """Return a pipeline as it is configured and as it came up."""
    ready, model = rungs.ready, rungs.options.model
    return PipelineInfo(
        state=state,
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
