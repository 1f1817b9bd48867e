"""Handwritten digits that move over textures, drawn frame by frame: something to find."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from edge.sources.base import Grabbed, Source, SourceOptions
from edge.sources.pacing import Pacer

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

    from edge.scenery.scenes import Scene

SCENE_S = 3.0  # then comes another scene
UNPACED_FPS = 30.0  # how far the digits move from frame to frame where there is no rate


class SceneOptions(SourceOptions):
    """Digits that move over textures."""

    type: Literal["scene"] = Field(
        description="Generated scenes: handwritten digits that move over textures, with their "
        "true labels."
    )
    width: int = Field(default=320, ge=64, le=4096, description="Width of a frame in pixels.")
    height: int = Field(default=240, ge=64, le=4096, description="Height of a frame in pixels.")
    fps: float | None = Field(
        default=15,
        ge=0.0001,
        le=10_000,
        description="Frames a second; `null` makes it a pulled source, as fast as it is asked.",
    )
    digits: int = Field(
        default=3, ge=0, le=5, description="How many of them are in a scene, where there is room."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31,
        description="Of the first scene; the next one has the next seed. The same seed gives the "
        "same pixels.",
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
        return Scenes(self)


class Scenes(Source):
    """Draws each frame when it is retrieved; the digits are none that a model here was trained on.

    The true label of a frame is those of all its digits, in order, with a space between: `1 4 7`.
    """

    def __init__(self, options: SceneOptions) -> None:
        self._options = options
        self._pacer = Pacer(options.fps) if options.fps is not None else None
        self._number = -1
        self._seed = -1

    def open(self) -> None:
        """Lay out the first scene."""
        self._scene, self._at_s = self._moment(max(self._number, 0))

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait until the next frame is due."""
        if self._pacer is None:
            if stop.is_set():
                return None
            self._number += 1
            captured_ns = time.monotonic_ns()
        else:
            due = self._pacer.next(stop)
            if due is None:
                return None
            self._number, captured_ns = due
            self.lost = self._pacer.lost
        self._scene, self._at_s = self._moment(self._number)
        return Grabbed(self._number, captured_ns, truth=" ".join(map(str, self._scene.digits)))

    def retrieve(self) -> NDArray[Any]:
        """Draw the frame grabbed last."""
        return self._scene.frame(self._at_s).pixels

    def due_ns(self) -> int | None:
        """When the next frame is due, where there is a rate."""
        return self._pacer.due_ns if self._pacer is not None else None

    def _moment(self, number: int) -> tuple[Scene, float]:
        """Return the scene that a frame is of, and its time there in seconds."""
        from edge.scenery.glyphs import held_out_glyphs
        from edge.scenery.scenes import Scene

        options = self._options
        scenes, at_s = divmod(number / (options.fps or UNPACED_FPS), SCENE_S)
        seed = options.seed + int(scenes)
        if seed == self._seed:
            return self._scene, at_s
        self._seed = seed
        size = (options.width, options.height)
        return Scene.with_room(seed, size, options.digits, glyphs=held_out_glyphs()), at_s
