"""Which accelerators two pipelines of a device would take from one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.accelerators.base import AcceleratorOptions
    from edge.config.model import Model
    from edge.config.pipeline import Pipeline
    from edge.config.problems import Place


def accelerator_problems(pipelines: Mapping[str, Pipeline]) -> Iterator[tuple[Place, str]]:
    """Find what two pipelines claim, for a device serves one process; places are within a YAML.

    The rungs of one pipeline's ladder may share a device.
    """
    claimed: dict[str, list[AcceleratorOptions]] = {}
    for name, pipeline in pipelines.items():
        for place, accelerator in _accelerators(pipeline):
            for other, theirs in claimed.items():
                if any(accelerator.excludes(each) for each in theirs):
                    yield ("pipelines", name, *place), _taken(accelerator, other)
                    break
        claimed[name] = [accelerator for _, accelerator in _accelerators(pipeline)]


def _accelerators(pipeline: Pipeline) -> Iterator[tuple[Place, AcceleratorOptions]]:
    """Return the accelerators of a pipeline, with their places in it."""
    rungs = pipeline.ladder.rungs if pipeline.ladder else []
    models: list[tuple[Place, Model]] = [((), pipeline.model)]
    models += [(("ladder", "rungs", at), rung.model) for at, rung in enumerate(rungs) if rung.model]
    for place, model in models:
        if model.accelerator is not None:
            yield (*place, "model", "accelerator"), model.accelerator


def _taken(accelerator: AcceleratorOptions, other: str) -> str:
    return (
        f"{other} may take the {accelerator.title} already, and it serves one pipeline: give each "
        "a device of its own by number, or one pipeline the sources of both"
    )
