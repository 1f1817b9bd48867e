"""Who watches over the model of a pipeline: told how it does, asked what to start with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.wire import Ready


class ModelWatch(Protocol):
    """Hears of the model that serves; what it raises ends the pipeline, so it raises nothing."""

    def starting(self) -> Pipeline | None:
        """Return what to start a worker with; None for what there is.

        It may differ only in what `edge.supervisor.models.BELONGS_TO_THE_MODEL` names.
        """

    def ready(self, ready: Ready) -> None:
        """Hear that a worker serves this model: it has begun, or gone over to it."""

    def died(self, how: str) -> None:
        """Hear that the worker ended by itself, and how; another will follow."""

    def failed(self, message: str) -> None:
        """Hear that the worker says it cannot do its work, or that none can be started."""

    def judged(self, missed: bool) -> None:
        """Hear of each frame of this model whether it missed its deadline."""

    def shadow_lost(self, why: str) -> None:
        """Hear that the model in shadow runs no more, and nobody has ended it."""


class NobodyWatches:
    """Watches over nothing."""

    def starting(self) -> Pipeline | None:
        """Start with what there is."""
        return None

    def ready(self, ready: Ready) -> None:
        """Nothing follows."""

    def died(self, how: str) -> None:
        """Nothing follows."""

    def failed(self, message: str) -> None:
        """Nothing follows."""

    def judged(self, missed: bool) -> None:
        """Nothing follows."""

    def shadow_lost(self, why: str) -> None:
        """Nothing follows."""
