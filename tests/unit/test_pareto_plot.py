"""The picture and the table of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from lab_reports import MACHINE, subject

from edge.lab.statistics import Ratio
from edge.workshop.compare import Candidate, Compared, Comparison, comparison_table
from edge.workshop.data import Data, Part
from edge.workshop.evaluate import Score
from edge.workshop.measure import Cost
from edge.workshop.pareto_plot import pareto_plot

SVG = "{http://www.w3.org/2000/svg}"
HELD_OUT = 200


def model(name: str, size_bytes: int, p50_ms: float, right: int, *, pareto: bool) -> Compared:
    return Compared(
        model=Candidate(name, Path(name), cast("Any", None), {}, []),
        cost=Cost(size_bytes, 600_000, subject([[p50_ms] * 200] * 10, model=name)),
        packed_bytes=size_bytes // 2,
        accuracy=Score(right, HELD_OUT),
        agreement=Score(right, HELD_OUT),
        to_the_first=None if name == "float" else Ratio(p50_ms / 8, p50_ms / 9, p50_ms / 7),
        pareto=pareto,
    )


def comparison(*models: Compared) -> Comparison:
    part = Part(np.zeros((HELD_OUT, 1), np.float32), np.zeros(HELD_OUT, np.int64))
    data = Data(part, part, part, ["a", "b"], digest="dd", pictures=False, split="", named=True)
    return Comparison("2026-01-02T03:04:05Z", MACHINE, "litert 2.3.0", 1, 5.0, data, list(models))


FOUR = comparison(
    model("float", 100_000, 8.0, 190, pareto=True),
    model("int8", 30_000, 3.0, 188, pareto=True),
    model("slow <&>", 31_000, 90.0, 188, pareto=False),
    model("tiny", 5_000, 0.5, 150, pareto=True),
)


def drawn(text: str, tag: str) -> list[ET.Element]:
    """Return the elements of a kind."""
    return list(ET.fromstring(text).iter(f"{SVG}{tag}"))  # noqa: S314  our own


def words(text: str) -> list[str]:
    return [each.text or "" for each in drawn(text, "text")]


def test_each_model_has_a_dot_in_both_panels_and_a_line_of_the_legend() -> None:
    text = pareto_plot(FOUR)
    dots = drawn(text, "circle")
    assert len(dots) == 3 * 4
    assert sum(dot.get("fill") == "#fff" for dot in dots) == 3, "what another beats is hollow"
    assert any(each.startswith("3  slow <&>: 31.0 kB, 90") for each in words(text))


def test_higher_is_more_accurate_and_further_right_is_slower_and_larger() -> None:
    dots = drawn(pareto_plot(FOUR), "circle")
    at = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in dots]
    latency, size = at[:4], at[4:8]
    assert latency[0][1] < latency[1][1] == latency[2][1] < latency[3][1]
    assert latency[3][0] < latency[1][0] < latency[0][0] < latency[2][0]
    assert size[3][0] < size[1][0] < size[2][0] < size[0][0]
    assert max(x for x, _ in latency) < min(x for x, _ in size)


def test_the_front_goes_up_in_steps_through_what_nothing_beats() -> None:
    lines = drawn(pareto_plot(FOUR), "polyline")
    assert len(lines) == 2
    for line in lines:
        points = [tuple(map(float, each.split(","))) for each in line.get("points", "").split()]
        assert len(points) == 5, "three models, and a corner between two of them"
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert [-y for _, y in points] == sorted(-y for _, y in points)


@pytest.mark.parametrize(
    "models",
    [
        [model("one", 1000, 1.0, HELD_OUT, pareto=True)],
        [model("one", 1000, 1.0, 0, pareto=True)],
        [model(str(each), 1000, 1.0, 100, pareto=True) for each in range(9)],
    ],
)
def test_everything_stays_on_the_paper(models: list[Compared]) -> None:
    text = pareto_plot(comparison(*models))
    _, _, width, height = map(float, ET.fromstring(text).get("viewBox", "").split())  # noqa: S314
    for dot in drawn(text, "circle"):
        assert 0 < float(dot.get("cx", "")) < width
        assert 0 < float(dot.get("cy", "")) < height
    for each in drawn(text, "text"):
        assert 0 <= float(each.get("x", "0")) < width
        assert 0 <= float(each.get("y", "0")) <= height


def test_the_table_says_what_each_costs_and_brings() -> None:
    table = comparison_table(FOUR)
    rows = {row[1]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["int8"] | {"P50": "", "P99": ""} == {
        "": "*",
        "model": "int8",
        "kB": "30.0",
        "packed kB": "15.0",
        "MMACs": "0.60",
        "accuracy": "94.00% (188 of 200)",
        "same answer": "94.00%",
        "P50": "",
        "P99": "",
        "P50 / first": "0.38 (0.33-0.43)",
    }
    assert float(rows["int8"]["P50"]) == pytest.approx(3.0, rel=2e-3)
    assert rows["float"]["P50 / first"] == "-"
    assert rows["slow <&>"][""] == ""
