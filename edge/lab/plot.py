"""Draws percentile curves as SVG, in the manner of HdrHistogram's plots.

Across goes 1 / (1 - q) on a log axis, so that 90 %, 99 % and 99.9 % are equally far apart and the
tail, which a density would hide, has as much room as the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge.lab.paper import COLOURS, Axis, svg, text_at, text_upward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.lab.report import Report, SubjectReport

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP = 78, 24, 62
LEGEND_ROW = 20
STEPS = 40  # points of a curve between two powers of ten
LOG_FROM = 20  # when the greatest latency is so many times the least, the latency axis is a log too
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
    across = Axis(1, longest, LEFT, WIDTH - RIGHT, log=True)
    up = _latency_axis(curves, bottom)
    parts = [
        text_at(LEFT, 24, f"Forward pass, {report.pace.partition(':')[0]}", size=17),
        text_at(LEFT, 44, str(report.machine), colour="#666"),
    ]
    parts += _grid(across, up, bottom)
    for number, (curve, name) in enumerate(zip(curves, names, strict=True)):
        line = _stroke(number)
        points = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{points}" fill="none" {line}/>')
        y = bottom + 62 + LEGEND_ROW * number
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + 34}" y2="{y}" {line}/>')
        parts.append(text_at(LEFT + 44, y + 4, name))
    return svg(WIDTH, height, parts)


def _latency_axis(curves: Sequence[Sequence[Point]], bottom: float) -> Axis:
    least = min(curve[0][1] for curve in curves)
    most = max(curve[-1][1] for curve in curves)
    if most > LOG_FROM * least:
        return Axis(least / 1.1, most * 1.1, bottom, TOP, log=True)
    return Axis(0, most * 1.05, bottom, TOP, log=False)


def _grid(across: Axis, up: Axis, bottom: float) -> Iterator[str]:
    for nines in across.ticks:
        power = round(math.log10(nines), 6)
        if power != int(power):
            continue
        x = across.at(nines)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield text_at(x, bottom + 18, _percent(int(power)), anchor="middle")
    for value in up.ticks:
        y = up.at(value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        yield text_at(LEFT - 8, y + 4, f"{value:.6g}", anchor="end")
    middle = (TOP + bottom) / 2
    yield text_at(
        (LEFT + WIDTH - RIGHT) / 2, bottom + 38, "percentile, as 1 / (1 - q)", anchor="middle"
    )
    yield text_upward(18, middle, "latency (ms)")


def _percent(nines: int) -> str:
    """Return the percentile with so many nines: 0 %, 90 %, 99 %, 99.9 %."""
    return f"{100 - 100 / 10**nines:.{max(0, nines - 2)}f} %"


def _stroke(number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{colour}" stroke-width="2"{dashes}'


def _name(subject: SubjectReport) -> str:
    size = " at {}x{}".format(*subject.input_size) if subject.input_size else ""
    threads = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
    model = f"{subject.model}{size}"
    engine = f"{subject.engine} {subject.engine_version}"
    batch = f", batch {subject.batch}" if subject.batch > 1 else ""
    return f"{model}, {engine}, {threads}{batch}: {subject.latency_ms.count:,} invokes"
