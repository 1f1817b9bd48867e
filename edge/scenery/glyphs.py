"""Handwritten digits as glyphs, and how to paint them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.bundled_files import bundled
from edge.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge.scenery.textures import Colour

SIDE = 8
HELD_OUT = 2  # the number of that set; training and validation are 0 and 1
MARGIN = 2  # empty pixels around a glyph: what cubic interpolation reaches for
INKED = 0.5  # where so much of a pixel's colour is ink, it belongs to the glyph's box

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""


@dataclass(frozen=True)
class Glyphs:
    """Digits to paint with."""

    ink: NDArray[np.float32]  # [n, 12, 12], 0..1: 8x8 and an empty margin
    labels: NDArray[np.int64]  # [n]
    number: int
    """Which set of glyphs: with another one the same seed gives another picture altogether."""

    @classmethod
    def of(cls, inputs: NDArray[np.float32], labels: NDArray[np.int64], number: int) -> Self:
        """Return glyphs of bright digits on black, [n, 8, 8], 0..1."""
        margin = (MARGIN, MARGIN)
        return cls(np.pad(inputs, ((0, 0), margin, margin)), labels, number)


@functools.cache
def held_out_glyphs() -> Glyphs:
    """Return the digits that no model here was trained on, from the sheet of the model `digits`.

    Raises ConfigError where it did not come with this installation.
    """
    path = bundled("models/digits/held-out.png")
    sheet = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if sheet is None:
        raise ConfigError(f"{path}: cannot be read: install the wheel again")
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    tiles = sheet.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    labels = np.array(path.with_suffix(".txt").read_text("ascii").split(), np.int64)
    return Glyphs.of(np.divide(tiles, 255, dtype=np.float32), labels, HELD_OUT)


@dataclass(frozen=True)
class Pose:
    """Where a glyph stands and how it leans."""

    x: float
    """Of its centre, in pixels from the picture's left edge."""
    y: float
    size: float
    """Height of its square of 8 by 8 in pixels, before it is turned."""
    angle: float = 0.0
    """Radians, clockwise."""
    shear: float = 0.0
    """So many pixels to the side for one pixel down."""
    width: float = 1.0
    """Its square's width / height."""


@dataclass(frozen=True)
class Ink:
    """What a glyph is painted with."""

    colour: Colour
    weight: float = 0.5
    """0..1; the more, the thicker the strokes."""
    sharpness: float = 2.5
    """How steep the edge of a stroke is: contrast of the enlarged 8x8."""
    opacity: float = 1.0


def paint(
    picture: NDArray[np.uint8], glyph: NDArray[np.float32], pose: Pose, ink: Ink
) -> Box | None:
    """Paint a glyph ([12, 12]) over the picture ([h, w, 3], BGR, changed in place).

    Returns the box of what can be seen of its strokes; None where that is nothing.
    """
    height, width = picture.shape[:2]
    reach = pose.size * (1 + abs(pose.shear)) * max(1.0, pose.width)
    left, right = max(0, math.floor(pose.x - reach)), min(width, math.ceil(pose.x + reach))
    top, bottom = max(0, math.floor(pose.y - reach)), min(height, math.ceil(pose.y + reach))
    if left >= right or top >= bottom:
        return None
    raw = cv2.warpAffine(
        glyph,
        _matrix(pose, glyph.shape[0], left, top),
        (right - left, bottom - top),
        flags=cv2.INTER_CUBIC,
    )
    cover = np.clip((raw - (1 - ink.weight)) * ink.sharpness + 0.5, 0, 1)  # float32 [h, w]
    inked = cv2.boundingRect((cover >= INKED).astype(np.uint8))
    cover = (cover * np.float32(ink.opacity))[..., np.newaxis]
    under = picture[top:bottom, left:right]
    under[:] = np.rint(under + cover * (np.array(ink.colour, np.float32) - under)).astype(np.uint8)
    x, y, wide, high = inked
    return (left + x, top + y, left + x + wide, top + y + high) if wide and high else None


def _matrix(pose: Pose, side: int, left: int, top: int) -> NDArray[np.float64]:
    """Return the affine map from the glyph's pixels to those of the part from (left, top) on."""
    scale = pose.size / SIDE
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    lean = np.array([[scale * pose.width, scale * pose.shear], [0, scale]])
    linear = turn @ lean
    centre = np.full(2, (side - 1) / 2)
    # Pixel i covers i..i + 1 of the picture, and its value stands in its middle.
    there = np.array([pose.x - left - 0.5, pose.y - top - 0.5]) - linear @ centre
    return np.hstack([linear, there[:, np.newaxis]])
