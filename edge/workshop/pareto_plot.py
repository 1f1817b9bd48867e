"""Draws models by accuracy over latency and over size, as SVG, with their Pareto fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.lab.paper import COLOURS, Axis, svg, text_at, text_upward
from edge.lab.ranking import pareto_front
from edge.workshop.compare import PARETO_OF, to_two_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.workshop.compare import Compared, Comparison

WIDTH, PANEL_HEIGHT = 900, 400
LEFT, RIGHT, TOP, BETWEEN = 92, 28, 66, 34
LEGEND_ROW = 20
RADIUS = 7
NARROWEST = 0.02  # of accuracy, that the axis spans
LOG_FROM = 8  # when the greatest cost is so many times the least, its axis is a log
FREE = 0.08  # of the span of accuracies, above and below

Point = tuple[float, float]
"""A cost, and an accuracy from 0 to 1."""


def pareto_plot(comparison: Comparison) -> str:
    """Return the SVG: two panels side by side, and a legend with every model's figures.

    A filled dot is on the front of all three, size, latency and accuracy; the line of each panel
    joins the front of its two.
    """
    models = comparison.models
    bottom = TOP + PANEL_HEIGHT
    panel = (WIDTH - LEFT - RIGHT - BETWEEN) / 2
    up = _accuracy_axis([each.accuracy.share for each in models], bottom)
    accuracies = [each.accuracy.share for each in models]
    parts = [
        text_at(LEFT, 24, f"Accuracy on {len(comparison.data.test):,} held-out samples", size=17),
        text_at(LEFT, 44, f"{comparison.engine}, {comparison.machine}", colour="#666", size=11),
        text_upward(18, (TOP + bottom) / 2, "accuracy"),
    ]
    panels = [
        (LEFT, "latency, P50 (ms)", [each.p50_ms for each in models]),
        (LEFT + panel + BETWEEN, "file (kB)", [each.cost.size_bytes / 1e3 for each in models]),
    ]
    weighing: list[Callable[[float], float]] = [to_two_digits, float]
    for (start, title, costs), weighed in zip(panels, weighing, strict=True):
        across = _cost_axis(costs, start, start + panel)
        parts += _grid(across, up, (start, start + panel, bottom), title, named=start == LEFT)
        points = list(zip(costs, accuracies, strict=True))
        marked = pareto_front([(weighed(cost), -accuracy) for cost, accuracy in points])
        front = {point for point, is_on in zip(points, marked, strict=True) if is_on}
        parts.append(_steps(sorted(front), across, up))
        places = [(across.at(cost), up.at(accuracy)) for cost, accuracy in points]
        parts += _dots(places, [each.pareto for each in models])
    parts += _legend(models, bottom + 62)
    return svg(WIDTH, bottom + 62 + LEGEND_ROW * (len(models) + 1), parts)


def _accuracy_axis(accuracies: Sequence[float], bottom: float) -> Axis:
    low, high = min(accuracies), max(accuracies)
    free = max((high - low) * FREE, (NARROWEST - (high - low)) / 2)
    return Axis(max(0, low - free), min(1, high + free), bottom, TOP, log=False)


def _cost_axis(costs: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(costs), max(costs)
    if high > LOG_FROM * low:
        return Axis(low / 1.25, high * 1.25, start, end, log=True)
    return Axis(0, high * 1.08, start, end, log=False)


def _grid(
    across: Axis, up: Axis, where: tuple[float, float, float], title: str, *, named: bool
) -> Iterator[str]:
    start, end, bottom = where
    for cost in across.ticks:
        x = across.at(cost)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield text_at(x, bottom + 18, f"{cost:.6g}", anchor="middle")
    for accuracy in up.ticks:
        y = up.at(accuracy)
        yield f'<line x1="{start:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        if named:
            yield text_at(start - 8, y + 4, f"{accuracy * 100:.6g} %", anchor="end")
    yield text_at((start + end) / 2, bottom + 38, title, anchor="middle")


def _steps(front: Sequence[Point], across: Axis, up: Axis) -> str:
    """Draw the steps of what can be had: at each cost, the best accuracy not above it."""
    corners: list[str] = []
    for cost, accuracy in front:
        x, y = across.at(cost), up.at(accuracy)
        if corners:
            corners.append(f"{x:.1f},{corners[-1].partition(',')[2]}")
        corners.append(f"{x:.1f},{y:.1f}")
    return (
        f'<polyline points="{" ".join(corners)}" fill="none" stroke="#999" stroke-width="2" '
        'stroke-dasharray="5 4"/>'
    )


def _dots(places: Sequence[Point], filled: Sequence[bool]) -> Iterator[str]:
    taken: list[Point] = list(places)
    for number, ((x, y), full) in enumerate(zip(places, filled, strict=True)):
        colour = _colour(number)
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" stroke="{colour}" stroke-width="2.5" '
            f'fill="{colour if full else "#fff"}" fill-opacity="0.8"/>'
        )
        at = _free_place((x, y), taken)
        taken.append(at)
        yield text_at(at[0], at[1] + 4, str(number + 1), anchor="middle", colour=colour)


def _free_place(of: Point, taken: Sequence[Point]) -> Point:
    """Return where a dot's number collides the least with dots and other numbers."""
    away = [(0, -1), (1, -0.8), (-1, -0.8), (1, 0.8), (-1, 0.8), (0, 1), (1.4, 0), (-1.4, 0)]
    places = [(of[0] + 17 * dx, of[1] + 17 * dy) for dx, dy in away]

    def crowding(place: Point) -> float:
        distances = [(place[0] - x) ** 2 + (place[1] - y) ** 2 for x, y in taken]
        return sum(1 / max(each, 1) for each in distances)

    return min(places, key=crowding)


def _legend(models: Sequence[Compared], top: float) -> Iterator[str]:
    for number, each in enumerate(models):
        y = top + LEGEND_ROW * number
        colour = _colour(number)
        yield (
            f'<circle cx="{LEFT + 8}" cy="{y}" r="{RADIUS - 1}" stroke="{colour}" '
            f'stroke-width="2.5" fill="{colour if each.pareto else "#fff"}" fill-opacity="0.8"/>'
        )
        yield text_at(
            LEFT + 24,
            y + 4,
            f"{number + 1}  {each.model.name}: {each.cost.size_bytes / 1e3:,.1f} kB, "
            f"{each.p50_ms:.4g} ms, {each.accuracy}",
        )
    yield text_at(
        LEFT,
        top + LEGEND_ROW * len(models) + 2,
        f"filled: {PARETO_OF}",
        colour="#666",
        size=11,
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
