"""A moving test pattern: frames without a camera, at a camera's pace or as fast as wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from edge.sources.base import Grabbed, Source, SourceOptions
from edge.sources.pacing import Pacer

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

STEP_PX = 4  # how far the pattern moves from one frame to the next


class SyntheticOptions(SourceOptions):
    """A moving test pattern."""

    type: Literal["synthetic"] = Field(description="A moving test pattern.")
    width: int = Field(default=1280, ge=1, le=8192, description="Width of a frame in pixels.")
    height: int = Field(default=720, ge=1, le=8192, description="Height of a frame in pixels.")
    fps: float | None = Field(
        default=30,
        ge=0.0001,
        le=10_000,
        description="Frames a second; `null` makes it a pulled source, as fast as it is asked.",
    )

    @property
    def live(self) -> bool:
        """Whether it has a rate of its own."""
        return self.fps is not None

    @property
    def rate(self) -> float | None:
        """Frames a second."""
        return self.fps

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        return Synthetic(self)


class Synthetic(Source):
    """Slides a window over a pattern drawn once: no frame costs an allocation."""

    def __init__(self, options: SyntheticOptions) -> None:
        self._options = options
        self._pacer = Pacer(options.fps) if options.fps is not None else None
        self._number = -1

    def open(self) -> None:
        """Draw the pattern: a gradient with coloured bars, one window and one lap wide."""
        import numpy as np

        width, height = self._options.width, self._options.height
        x = np.arange(2 * width) % width
        y = np.arange(height)[:, None]
        pattern = np.empty((height, 2 * width, 3), np.uint8)
        pattern[..., 0] = x * 255 // max(width - 1, 1)
        pattern[..., 1] = y * 255 // max(height - 1, 1)
        pattern[..., 2] = np.where((x * 8 // width) % 2, 255, 0)
        self._pattern = pattern

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait until the next frame is due."""
        if self._pacer is None:
            if stop.is_set():
                return None
            self._number += 1
            return Grabbed(self._number, time.monotonic_ns())
        due = self._pacer.next(stop)
        if due is None:
            return None
        self._number, due_ns = due
        self.lost = self._pacer.lost
        return Grabbed(self._number, due_ns)

    def retrieve(self) -> NDArray[Any]:
        """Return the window of the frame grabbed last."""
        left = self._number * STEP_PX % self._options.width
        return self._pattern[:, left : left + self._options.width]

    def due_ns(self) -> int | None:
        """When the next frame is due, where there is a rate."""
        return self._pacer.due_ns if self._pacer is not None else None
