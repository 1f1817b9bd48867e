"""Seeded backgrounds: five kinds of texture, each in two colours of about the same luminance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Blue, green, red, 0..255."""
LUMA = (0.114, 0.587, 0.299)  # ITU-R BT.601, of blue, green and red
CHROMA = 0.45  # how far a colour may be from grey


def luminance(colour: Colour) -> float:
    """Return how bright a colour is, 0..255."""
    return float(np.dot(colour, LUMA))


def colour_of(rng: np.random.Generator, level: float) -> Colour:
    """Return a colour of any hue with this luminance; near black and white it is greyer."""
    drawn = rng.uniform(0, 255, 3)
    away = drawn - np.dot(drawn, LUMA)  # of luminance 0
    chroma = min(CHROMA, level / max(-away.min(), 1e-6), (255 - level) / max(away.max(), 1e-6))
    blue, green, red = level + chroma * away
    return (float(blue), float(green), float(red))


def texture(
    rng: np.random.Generator,
    size: tuple[int, int],
    level: float,
    spread: float,
    kinds: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Return a background of one of these kinds, or of any, BGR [height, width, 3].

    `size` is (width, height). Its two colours have a luminance of `level` - `spread` and `level` +
    `spread`.
    """
    among = tuple(kinds or KINDS)
    kind = among[rng.integers(len(among))]
    share = (KINDS[kind](rng, size)[..., np.newaxis] + 1) / 2  # float32 [h, w, 1], 0..1
    dark = np.array(colour_of(rng, level - spread), np.float32)
    bright = np.array(colour_of(rng, level + spread), np.float32)
    mixed: NDArray[np.uint8] = np.rint(dark + share * (bright - dark)).astype(np.uint8)
    return mixed


def gradient(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A ramp at any angle, or from a point outward."""
    if rng.random() < 1 / 2:
        return _stretched(_along(rng.uniform(0, 2 * math.pi), size))
    x, y = _coordinates(size)
    there_x, there_y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    return _stretched(np.hypot(x - there_x, y - there_y))


def noise(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Value noise of up to five octaves, each at half the strength of the coarser one."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    octaves = range(1, int(rng.integers(3, 6)))
    for octave in octaves:
        cells = rng.uniform(-1, 1, (2**octave + 1, 2**octave + 1)).astype(np.float32)
        total += cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC) / 2**octave
    return _stretched(total)


def stripes(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Parallel bands at any angle, from soft to hard-edged."""
    return _wave(rng, _along(rng.uniform(0, math.pi), size), hardness=rng.uniform(0.7, 4))


def checks(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A chequered pattern at any angle."""
    angle, hardness = rng.uniform(0, math.pi / 2), rng.uniform(1.5, 5)
    one = _wave(rng, _along(angle, size), hardness)
    return one * _wave(rng, _along(angle + math.pi / 2, size), hardness)


def blobs(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Patches with soft edges: coarse noise, driven to its extremes."""
    cells = int(rng.integers(3, 8))
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    driven: NDArray[np.float32] = np.tanh(np.float32(rng.uniform(2, 6)) * smooth)
    return driven


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float32]]] = {
    "gradient": gradient,
    "noise": noise,
    "stripes": stripes,
    "checks": checks,
    "blobs": blobs,
}
"""Patterns, float32 [height, width] from -1 to 1, by the name of their kind."""


def _coordinates(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    width, height = size
    across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return across[np.newaxis, :], down[:, np.newaxis]


def _along(angle: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return how far each pixel lies in this direction."""
    x, y = _coordinates(size)
    along: NDArray[np.float32] = np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y
    return along


def _wave(
    rng: np.random.Generator, along: NDArray[np.float32], hardness: float
) -> NDArray[np.float32]:
    period = rng.uniform(6, 24)
    phase = rng.uniform(0, 2 * math.pi)
    wave = np.sin(2 * math.pi / period * along + phase)
    driven: NDArray[np.float32] = np.tanh(hardness * wave) / np.float32(math.tanh(hardness))
    return driven


def _stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values over the whole of -1..1."""
    low, high = float(np.min(values)), float(np.max(values))
    span = np.float32(max(high - low, 1e-6))
    stretched: NDArray[np.float32] = (values - np.float32(low)) * np.float32(2) / span - np.float32(
        1
    )
    return stretched
