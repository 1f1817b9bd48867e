"""Draws percentile curves as SVG, in the manner of HdrHistogram's plots.

Across goes 1 / (1 - q) on a log axis, so that 90 %, 99 % and 99.9 % are equally far apart and the
tail, which a density would hide, has as much room as the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.lab.report import Report, SubjectReport

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP = 78, 24, 62
LEGEND_ROW = 20
STEPS = 40  # points of a curve between two powers of ten
LOG_FROM = 20  # when the greatest latency is so many times the least, the latency axis is a log too
# M. Okabe, K. Ito, Color Universal Design (2008): told apart with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("", "7 4", "2 3", "9 3 2 3")

Point = tuple[float, float]


def percentile_curve(subject: SubjectReport) -> list[Point]:
    """Return (1 / (1 - q), milliseconds) from the least value, at 1, to the greatest.

    It ends at 1 / (1 - q) = count: beyond, the sample says nothing.
    """
    histogram = subject.histogram
    count = histogram.count
    steps = max(1, math.ceil(STEPS * math.log10(count))) if count > 1 else 1
    nines = [count ** (step / steps) for step in range(steps)]
    curve = [(x, histogram.percentile(100 * (1 - 1 / x)) / 1e6) for x in nines]
    return [*curve, (float(count), histogram.max / 1e6)]


def plot(report: Report) -> str:
    """Return the SVG of all subjects' percentile curves."""
    curves = [percentile_curve(subject) for subject in report.subjects]
    names = [_name(subject) for subject in report.subjects]
    bottom = TOP + HEIGHT
    height = bottom + 62 + LEGEND_ROW * len(curves)
    longest = max(10.0, *(curve[-1][0] for curve in curves))
    across = _Axis(1, longest, LEFT, WIDTH - RIGHT, log=True)
    up = _latency_axis(curves, bottom)
    frame = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {frame}>',
        f'<rect {frame} fill="#fff"/>',
        '<g font-family="sans-serif" font-size="13" fill="#222">',
        _text(LEFT, 24, f"Forward pass, {report.pace.partition(':')[0]}", size=17),
        _text(LEFT, 44, str(report.machine), colour="#666"),
    ]
    parts += _grid(across, up, bottom)
    for number, (curve, name) in enumerate(zip(curves, names, strict=True)):
        line = _stroke(number)
        points = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{points}" fill="none" {line}/>')
        y = bottom + 62 + LEGEND_ROW * number
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + 34}" y2="{y}" {line}/>')
        parts.append(_text(LEFT + 44, y + 4, name))
    return "\n".join([*parts, "</g>", "</svg>", ""])


class _Axis:
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


def _latency_axis(curves: Sequence[Sequence[Point]], bottom: float) -> _Axis:
    least = min(curve[0][1] for curve in curves)
    most = max(curve[-1][1] for curve in curves)
    if most > LOG_FROM * least:
        return _Axis(least / 1.1, most * 1.1, bottom, TOP, log=True)
    return _Axis(0, most * 1.05, bottom, TOP, log=False)


def _log_ticks(low: float, high: float) -> list[float]:
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**ten for ten in tens for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 8
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * ten for factor in (1, 2, 5, 10) if factor * ten >= rough)
    return [low + step * number for number in range(int((high - low) / step) + 1)]


def _grid(across: _Axis, up: _Axis, bottom: float) -> Iterator[str]:
    for nines in across.ticks:
        power = round(math.log10(nines), 6)
        if power != int(power):
            continue
        x = across.at(nines)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield _text(x, bottom + 18, _percent(int(power)), anchor="middle")
    for value in up.ticks:
        y = up.at(value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        yield _text(LEFT - 8, y + 4, f"{value:.6g}", anchor="end")
    middle = (TOP + bottom) / 2
    yield _text(
        (LEFT + WIDTH - RIGHT) / 2, bottom + 38, "percentile, as 1 / (1 - q)", anchor="middle"
    )
    yield (
        f'<text transform="translate(18 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        "latency (ms)</text>"
    )


def _percent(nines: int) -> str:
    """Return the percentile with so many nines: 0 %, 90 %, 99 %, 99.9 %."""
    return f"{100 - 100 / 10**nines:.{max(0, nines - 2)}f} %"


def _stroke(number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{colour}" stroke-width="2"{dashes}'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, colour: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _name(subject: SubjectReport) -> str:
    size = " at {}x{}".format(*subject.input_size) if subject.input_size else ""
    threads = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
    model = f"{subject.model}{size}"
    engine = f"{subject.engine} {subject.engine_version}"
    batch = f", batch {subject.batch}" if subject.batch > 1 else ""
    return f"{model}, {engine}, {threads}{batch}: {subject.latency_ms.count:,} invokes"
