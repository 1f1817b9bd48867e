"""Has a pipeline run the model that it should, and another beside it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge.supervisor.log import log
from edge.supervisor.updates import policy

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.messages import ShadowFigures
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.updates.book import Book


async def serve(book: Book, name: str) -> None:
    """Have a pipeline run what it should by now: between two frames, else by starting it anew.

    Who calls holds `changing`. Where no worker runs the next one is started with it anyway.
    """
    pipeline, wanted = book.host.pipelines.get(name), book.options_of(name)
    if pipeline is None or wanted is None or pipeline.options == wanted:
        return
    if pipeline.state == "running":
        try:
            await pipeline.swap(wanted)
        except EdgeError as error:
            log(logging.WARNING, "not_swapped", f"{error}; it is started anew", pipeline=name)
        else:
            return
    if pipeline.state in ("running", "starting", "failed"):
        await book.host.restart(name)


class Beside:
    """A model kept in the shadow of the one that serves, through restarts of either."""

    def __init__(self) -> None:
        self._of: SupervisedPipeline | None = None
        self.seen = policy.Beside()
        """What both said, since the one in the shadow was started there."""

    async def keep(self, pipeline: SupervisedPipeline, options: Pipeline, share: float) -> None:
        """See that it runs there, and take in what was seen. Raises EdgeError where it cannot."""
        if pipeline is not self._of or pipeline.shadowed is None:
            self._of = pipeline
            await pipeline.shadow(options, share)
        figures = pipeline.shadowed
        if figures is not None:
            self.seen = _seen(figures)

    def end(self) -> None:
        """End it, where it runs."""
        if self._of is not None and self._of.shadowed is not None:
            self._of.end_shadow()
        self._of = None


def _seen(figures: ShadowFigures) -> policy.Beside:
    return policy.Beside(
        frames=figures.frames - figures.failed,
        agreed=figures.agreed,
        failed=figures.failed,
        failure=figures.failure or "",
        inference_ms=figures.inference_ms.p50,
        serving_inference_ms=figures.serving_inference_ms.p50,
    )
