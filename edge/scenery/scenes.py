"""Seeded pictures of handwritten digits that move over textures, with their boxes and labels.

Everything is drawn with numpy and OpenCV; nothing else is needed, and the same seed gives the same
pixels.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edge.errors import ConfigError
from edge.scenery.glyphs import SIDE, Glyphs, Ink, Pose, paint
from edge.scenery.textures import Colour, colour_of, texture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

PERIOD_S = 12.0
LEVEL = (50.0, 205.0)  # a background's luminance
SPREAD = (5.0, 45.0)  # how far its two colours are from it
CONTRAST = 60.0  # a digit's luminance is further than this from both
TURN, SHEAR = math.radians(20), 0.2
WIDTH = (0.85, 1.15)
DIGIT_SHARE = (20 / 96, 34 / 96)  # of a picture's longer side
LONGEST = 1.8  # times the shorter side, of which digits are a share
SMALLEST_FRAME = 16
APART = 0.85  # of the mean of two digits' sizes: so far their centres are, across or down
PATHS_TRIED, LAYOUTS_TRIED = 60, 12
TURNS = np.linspace(0, 2 * math.pi, 60, endpoint=False)  # of a period, where paths are compared
EDGE = 0.7  # of a digit's height: so far its centre stays from the edge, turned and swollen
SWELL = 0.06
NO_BLUR = 0.2  # sigma in pixels, below which 8 bits show none


class Frame(NamedTuple):
    """A picture and what is to be seen in it."""

    pixels: NDArray[np.uint8]
    """BGR, [height, width, 3]."""
    boxes: NDArray[np.int32]
    """[digits, 4]: left, top, right, bottom in pixels; right and bottom are the first outside."""
    labels: NDArray[np.int64]
    """[digits], 0..9."""


class Scene:
    """Digits that move along smooth closed paths over a still background with distractors.

    They keep apart from one another and inside the picture. After `PERIOD_S` all comes round
    again, but for the noise of the camera, so that a film of that length has no seam.
    """

    def __init__(
        self,
        seed: int,
        size: tuple[int, int] = (96, 96),
        digits: int = 3,
        *,
        glyphs: Glyphs,
        digit_px: tuple[float, float] = (20.0, 34.0),
        kinds: Sequence[str] = (),
    ) -> None:
        """Lay out a scene of (width, height) pixels.

        `digit_px` is the range of the digits' heights, `kinds` are those of the textures it may
        have, all if not given. With other glyphs the same seed gives another scene altogether.
        Raises ConfigError where so many of them do not find room.
        """
        if min(size) < SMALLEST_FRAME or digits < 0:
            raise ConfigError(
                f"a scene of {size[0]}x{size[1]} pixels with {digits} digits cannot be drawn: "
                f"at least {SMALLEST_FRAME}x{SMALLEST_FRAME} pixels and no fewer than 0 digits"
            )
        self._seeds = (seed, glyphs.number)
        rng = np.random.default_rng([*self._seeds, 0])
        self._glyphs = glyphs
        self._background = Background.draw(rng, size, glyphs, scale_px=digit_px[0], kinds=kinds)
        self._movers = _lay_out(rng, self._background, self._glyphs, digits, digit_px)
        self._blur = rng.uniform(0, 0.8)
        self._grain = rng.uniform(0, 6)

    @classmethod
    def with_room(
        cls,
        seed: int,
        size: tuple[int, int],
        digits: int,
        *,
        glyphs: Glyphs,
        kinds: Sequence[str] = (),
    ) -> Self:
        """Lay out a scene of so many digits, or of as many as find room, in any size.

        Their heights are shares of the picture's longer side, or of less where it is very long.
        """
        side = min(max(size), LONGEST * min(size))
        digit_px = (DIGIT_SHARE[0] * side, DIGIT_SHARE[1] * side)
        for fewer in range(digits, 0, -1):
            with suppress(ConfigError):
                return cls(seed, size, fewer, glyphs=glyphs, digit_px=digit_px, kinds=kinds)
        return cls(seed, size, 0, glyphs=glyphs, digit_px=digit_px, kinds=kinds)

    @property
    def digits(self) -> list[int]:
        """Which digits are in it, in order; a digit stands there as often as it is to be seen."""
        return sorted(int(self._glyphs.labels[mover.glyph]) for mover in self._movers)

    def frame(self, t: float) -> Frame:
        """Return what is to be seen at `t` seconds; the same `t` gives the same pixels."""
        pixels = self._background.pixels.copy()
        boxes, labels = [], []
        for mover in self._movers:
            box = paint(pixels, self._glyphs.ink[mover.glyph], mover.pose(t), mover.ink)
            if box is not None:
                boxes.append(box)
                labels.append(self._glyphs.labels[mover.glyph])
        rng = np.random.default_rng([*self._seeds, 1, round(abs(t) * 1e6)])
        return Frame(
            as_taken(rng, pixels, blur=self._blur, grain=self._grain),
            np.array(boxes, np.int32).reshape(-1, 4),
            np.array(labels, np.int64),
        )


def as_taken(
    rng: np.random.Generator, pixels: NDArray[np.uint8], *, blur: float, grain: float
) -> NDArray[np.uint8]:
    """Return the picture as a camera takes it: blurred (sigma in pixels), with Gaussian noise."""
    soft = cv2.GaussianBlur(pixels, (0, 0), blur) if blur > NO_BLUR else pixels
    noisy = soft + rng.standard_normal(pixels.shape, np.float32) * np.float32(grain)
    taken: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return taken


@dataclass(frozen=True)
class Background:
    """A texture with distractors, and what a digit's colour has to keep clear of."""

    pixels: NDArray[np.uint8]  # BGR [h, w, 3]
    level: float
    spread: float

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        size: tuple[int, int],
        of: Glyphs,
        *,
        scale_px: float,
        distractors: float = 1.0,
        kinds: Sequence[str] = (),
    ) -> Background:
        """Draw one of (width, height), its texture of one of these kinds, or of any.

        `scale_px` is about the size of the scene's smallest digits.
        There are as many distractors as such digits would fill a third of the picture, times
        `distractors`, at the most: fragments of glyphs, and lines.
        """
        level, spread = rng.uniform(*LEVEL), rng.uniform(*SPREAD)
        drawn = cls(texture(rng, size, level, spread, kinds), level, spread)
        most = max(1.0, size[0] * size[1] / scale_px**2 / 3) * distractors
        for _ in range(int(rng.integers(0, round(most) + 1))):
            if rng.random() < 1 / 2:
                drawn._fragment(rng, of, scale_px)
            else:
                drawn._line(rng, scale_px)
        return drawn

    def ink_colour(self, rng: np.random.Generator) -> Colour:
        """Return a colour that stands out from the texture's two."""
        clear = self.spread + CONTRAST
        below, above = self.level - clear, self.level + clear
        room_below, room_above = max(0.0, below), max(0.0, 255 - above)
        drawn = rng.uniform(0, room_below + room_above)
        return colour_of(rng, drawn if drawn < room_below else above + drawn - room_below)

    def _fragment(self, rng: np.random.Generator, of: Glyphs, scale_px: float) -> None:
        """Paint a corner of some glyph: strokes like a digit's, too little of them to be one."""
        glyph = of.ink[rng.integers(len(of.ink))]
        kept = np.zeros_like(glyph)
        middle = len(glyph) // 2
        rows = slice(None, middle) if rng.random() < 1 / 2 else slice(middle, None)
        columns = slice(None, middle) if rng.random() < 1 / 2 else slice(middle, None)
        kept[rows, columns] = glyph[rows, columns]
        pose = any_pose(rng, self._somewhere(rng), scale_px * rng.uniform(0.8, 1.4))
        turned = replace(pose, angle=rng.uniform(0, 2 * math.pi))
        paint(self.pixels, kept, turned, any_ink(rng, self.ink_colour(rng)))

    def _line(self, rng: np.random.Generator, scale_px: float) -> None:
        """Draw a straight line across a good part of the picture: too long for a 1."""
        x, y = self._somewhere(rng)
        angle, length = rng.uniform(0, math.pi), scale_px * rng.uniform(2, 6)
        reach = np.array([math.cos(angle), math.sin(angle)]) * length / 2
        start, end = (np.array([x, y]) - reach), (np.array([x, y]) + reach)
        cv2.line(
            self.pixels,
            (round(start[0]), round(start[1])),
            (round(end[0]), round(end[1])),
            self.ink_colour(rng),
            thickness=max(1, round(scale_px / SIDE * rng.uniform(0.3, 1.0))),
            lineType=cv2.LINE_AA,
        )

    def _somewhere(self, rng: np.random.Generator) -> tuple[float, float]:
        height, width = self.pixels.shape[:2]
        return (rng.uniform(0, width), rng.uniform(0, height))


@dataclass(frozen=True)
class _Path:
    """A way across the picture: a sine wave to the sides and one up and down."""

    centre: NDArray[np.float64]  # [2]: x, y
    reach: NDArray[np.float64]  # [2]
    rounds: NDArray[np.int64]  # [2], waves in a period
    phase: NDArray[np.float64]  # [2]

    def at(self, turn: float) -> tuple[float, float]:
        """Return where it is at so many radians of the period."""
        x, y = self.centre + self.reach * np.sin(self.rounds * turn + self.phase)
        return (float(x), float(y))


@dataclass(frozen=True)
class _Mover:
    """One digit on its way, where it sways and swells a little."""

    glyph: int
    ink: Ink
    rest: Pose
    path: _Path

    def pose(self, t: float) -> Pose:
        """Return how it stands at `t` seconds."""
        turn = 2 * math.pi * t / PERIOD_S
        x, y = self.path.at(turn)
        one, other = self.path.phase
        return replace(
            self.rest,
            x=x,
            y=y,
            angle=self.rest.angle + TURN / 4 * math.sin(turn + one),
            size=self.rest.size * (1 + SWELL * math.sin(2 * turn + other)),
        )


def _lay_out(
    rng: np.random.Generator,
    background: Background,
    of: Glyphs,
    digits: int,
    digit_px: tuple[float, float],
) -> list[_Mover]:
    height, width = background.pixels.shape[:2]
    for layout in range(LAYOUTS_TRIED):
        eager = 1 - layout / LAYOUTS_TRIED
        ways = _Ways((width, height), digit_px)
        while len(ways.paths) < digits and ways.add(rng, eager):
            pass
        if len(ways.paths) == digits:
            return [
                _Mover(
                    glyph=int(rng.integers(len(of.ink))),
                    ink=any_ink(rng, background.ink_colour(rng)),
                    rest=any_pose(rng, path.at(0), height_px),
                    path=path,
                )
                for path, height_px in zip(ways.paths, ways.heights_px, strict=True)
            ]
    raise ConfigError(
        f"{digits} digits of {digit_px[0]:g} to {digit_px[1]:g} pixels find no room in "
        f"{width}x{height}: ask for fewer or smaller ones, or a larger picture"
    )


class _Ways:
    """Paths of digits that keep clear of one another all the time."""

    def __init__(self, size: tuple[int, int], digit_px: tuple[float, float]) -> None:
        self._middle = np.array(size) / 2
        self._low, self._high = digit_px
        self.paths: list[_Path] = []
        self.heights_px: list[float] = []
        self._taken: list[NDArray[np.float64]] = []  # [moments, 2] each

    def add(self, rng: np.random.Generator, eager: float) -> bool:
        """Add one digit if room is found: the later, the shorter its way and the smaller it is.

        `eager` (0..1) is how long the ways and how large the digits are at the beginning.
        """
        shrinking = eager * np.linspace(1, 0, PATHS_TRIED)[:, np.newaxis]  # [tried, 1]
        draw = rng.random((4, PATHS_TRIED, 2))
        heights_px = self._low + (self._high - self._low) * shrinking * draw[0, :, :1]
        room = self._middle - heights_px * EDGE  # [tried, 2]
        reach = room * shrinking * (0.2 + 0.8 * draw[1])
        centre = self._middle + (2 * draw[2] - 1) * (room - reach)
        rounds = rng.integers(1, 4, (PATHS_TRIED, 2))
        phase = 2 * math.pi * draw[3]
        waves = np.multiply.outer(TURNS, rounds) + phase
        ways = centre + reach * np.sin(waves)  # [moments, tried, 2]
        free = (room >= 0).all(axis=1)
        for other_px, taken in zip(self.heights_px, self._taken, strict=True):
            distance = np.abs(ways - taken[:, np.newaxis]).max(axis=2).min(axis=0)
            free &= distance >= APART * (heights_px[:, 0] + other_px) / 2
        if not free.any():
            return False
        first = int(np.argmax(free))
        self.paths.append(_Path(centre[first], reach[first], rounds[first], phase[first]))
        self.heights_px.append(float(heights_px[first, 0]))
        self._taken.append(ways[:, first])
        return True


def any_pose(rng: np.random.Generator, centre: tuple[float, float], size: float) -> Pose:
    """Return a pose as a hand would write it: somewhat turned, leaning, narrow or wide."""
    return Pose(
        *centre,
        size=size,
        angle=rng.uniform(-TURN, TURN),
        shear=rng.uniform(-SHEAR, SHEAR),
        width=rng.uniform(*WIDTH),
    )


def any_ink(rng: np.random.Generator, colour: Colour) -> Ink:
    """Return ink of this colour: thin or thick, sharp or soft, a little transparent or not."""
    return Ink(
        colour,
        weight=rng.uniform(0.45, 0.6),
        sharpness=rng.uniform(1.5, 4),
        opacity=rng.uniform(0.8, 1),
    )
