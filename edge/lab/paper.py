"""What drawings are made of: a sheet of SVG, axes with round ticks, text, colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

# M. Okabe, K. Ito, Color Universal Design (2008): told apart with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


def svg(width: float, height: float, parts: Sequence[str]) -> str:
    """Return the file: white paper, and these elements on it."""
    frame = f'width="{width}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {frame}>',
        f'<rect {frame} fill="#fff"/>',
        '<g font-family="sans-serif" font-size="13" fill="#222">',
    ]
    return "\n".join([*head, *parts, "</g>", "</svg>", ""])


class Axis:
    """Where a value lies on the paper, and which values get a line of the grid."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool) -> None:
        self._scale = math.log10 if log else float
        self._low, self._span = self._scale(low), self._scale(high) - self._scale(low)
        self._start, self._end = start, end
        self.ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)

    def at(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = (self._scale(value) - self._low) / self._span
        return self._start + share * (self._end - self._start)


def text_at(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, colour: str = "#222"
) -> str:
    """Return text that begins, ends or has its middle at this point."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def text_upward(x: float, y: float, text: str) -> str:
    """Return text that is read from below, its middle at this point."""
    return (
        f'<text transform="translate({x:.0f} {y:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _log_ticks(low: float, high: float) -> list[float]:
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**ten for ten in tens for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 8
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * ten for factor in (1, 2, 5, 10) if factor * ten >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]
