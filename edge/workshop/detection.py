"""Pictures for detectors of digits, what each cell has to say of them, and how right they are.

The pictures are scenes, made the model's input by the runtime's own preprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge.config.model import Model
from edge.scenery.scenes import PERIOD_S, Scene
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor
from edge.workshop.glyphs import PARTS, PartName, glyphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge.decoders.base import Prediction
    from edge.geometry import Geometry

SIDE, GRID = 96, 12
CLASSES = 10
RESIZE = "letterbox"
SIZES = ((96, 96), (96, 96), (96, 72), (72, 96), (96, 54), (192, 144), (320, 240))
"""Width and height of the frames, each as often as it stands here."""
MOST_DIGITS = 4
OBJECT = 0.25  # of a digit's height: cells with their middle so near to the digit's are its own
NOBODYS = 0.45  # cells with their middle up to here may say what they like
OBJECT_WEIGHT = 1.5  # of such a cell in the loss; the background's is 1


class Digit(NamedTuple):
    """A digit that is to be seen; its place is in fractions of the frame."""

    label: int
    x: float
    y: float
    height_px: float
    """In pixels of the model's input."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame, and the digits in it."""

    frame: NDArray[np.uint8]
    """BGR [height, width, 3]."""
    tensor: NDArray[np.uint8]
    """RGB [96, 96, 3], as the model gets it."""
    geometry: Geometry
    digits: list[Digit]


def preprocessor(dtype: str = "uint8") -> Preprocessor:
    """Return what makes frames the detector's input: pixels for uint8, pixel / 255 for float32."""
    spec = TensorSpec("image", (1, SIDE, SIDE, 3), dtype)
    return Preprocessor(Model(path=Path("digit-finder.tflite"), resize=RESIZE), spec)


def pictures(part: PartName, count: int, seed: int, *, kinds: Sequence[str]) -> Iterator[Picture]:
    """Draw a frame each of so many scenes, with digits of one part over textures of these kinds."""
    preprocess = preprocessor()
    for number in range(count):
        rng = np.random.default_rng([seed, PARTS.index(part), len(kinds), number])
        width, height = SIZES[rng.integers(len(SIZES))]
        scene = Scene.with_room(
            int(rng.integers(2**31)),
            (width, height),
            int(rng.integers(0, MOST_DIGITS + 1)),
            glyphs=glyphs(part),
            kinds=kinds,
        )
        frame = scene.frame(float(rng.uniform(0, PERIOD_S)))
        tensor = preprocess.buffer()
        geometry = preprocess(frame.pixels, tensor)
        digits = [
            Digit(
                int(label),
                float(left + right) / 2 / width,
                float(top + bottom) / 2 / height,
                float(max(right - left, bottom - top)) * SIDE / max(width, height),
            )
            for (left, top, right, bottom), label in zip(frame.boxes, frame.labels, strict=True)
        ]
        yield Picture(frame.pixels, tensor[0], geometry, digits)


def targets(picture: Picture) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each cell's class, 0 for the background, and its weight in the loss; [12, 12] both.

    FOMO's own targets are the one cell that holds an object's middle. Here all cells near the
    middle are the object's, several for a larger one: the decoder joins them, and there is more
    to learn from each picture.
    """
    classes = np.zeros((GRID, GRID), np.int64)
    weights = np.ones((GRID, GRID), np.float32)
    middles = (np.arange(GRID) + 0.5) * SIDE / GRID
    geometry = picture.geometry
    near = []
    for digit in picture.digits:
        x = (digit.x - geometry.left) / geometry.across * SIDE
        y = (digit.y - geometry.top) / geometry.down * SIDE
        away = np.maximum(np.abs(middles[np.newaxis, :] - x), np.abs(middles[:, np.newaxis] - y))
        own = away < OBJECT * digit.height_px
        own[min(int(y * GRID / SIDE), GRID - 1), min(int(x * GRID / SIDE), GRID - 1)] = True
        weights[away < NOBODYS * digit.height_px] = 0
        near.append((own, digit.label + 1))
    for own, of_class in near:
        classes[own], weights[own] = of_class, OBJECT_WEIGHT
    return classes, weights


@dataclass(slots=True)
class Tally:
    """Which of the digits were found, and which of those found were there, for each class."""

    there: list[int] = field(default_factory=lambda: [0] * CLASSES)
    told: list[int] = field(default_factory=lambda: [0] * CLASSES)
    right: list[int] = field(default_factory=lambda: [0] * CLASSES)

    def take(self, found: Iterable[Prediction], picture: Picture) -> None:
        """Count what was found in a picture, best first; a digit is found once.

        Right is the class with its middle at most a cell's width from the digit's own, to the side
        and up or down. Else a digit was missed, and another told that is not there.
        """
        reach_x = picture.geometry.across / GRID
        reach_y = picture.geometry.down / GRID
        left = list(picture.digits)
        for digit in left:
            self.there[digit.label] += 1
        for each in found:
            label = each["index"] - 1
            self.told[label] += 1
            near = [
                digit
                for digit in left
                if digit.label == label
                and abs(digit.x - each["x"]) <= reach_x
                and abs(digit.y - each["y"]) <= reach_y
            ]
            if near:
                left.remove(near[0])
                self.right[label] += 1

    @property
    def card(self) -> dict[str, Any]:
        """What the model's card says of all classes together."""
        found = _figures(sum(self.right), sum(self.there), sum(self.told))
        return found | {"digits": sum(self.there), "told": sum(self.told), "right": sum(self.right)}

    @property
    def by_class(self) -> list[dict[str, float]]:
        """The same for each class."""
        return [_figures(*each) for each in zip(self.right, self.there, self.told, strict=True)]

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, over all classes."""
        return _figures(sum(self.right), sum(self.there), sum(self.told))["f1"]


def _figures(right: int, there: int, told: int) -> dict[str, float]:
    """Return F1, precision and recall; each is 0 where there is nothing to count."""
    return {
        "f1": round(2 * right / max(there + told, 1), 4),
        "precision": round(right / max(told, 1), 4),
        "recall": round(right / max(there, 1), 4),
    }
