"""The percentile curves."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from lab_reports import report, subject

from edge.lab.plot import percentile_curve, plot

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str, tag: str) -> list[ET.Element]:
    """Return the elements of a kind."""
    return list(ET.fromstring(text).iter(f"{SVG}{tag}"))  # noqa: S314  our own


def words(text: str) -> list[str]:
    """Return what is written in the picture."""
    return [each.text or "" for each in drawn(text, "text")]


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 12_345])
def test_a_curve_rises_from_the_least_to_the_greatest_invoke(count: int) -> None:
    durations = np.random.default_rng(count).lognormal(0, 1, count)
    curve = percentile_curve(subject([durations.tolist()]))
    across, up = zip(*curve, strict=True)
    assert list(across) == sorted(across)
    assert list(up) == sorted(up)
    assert across[0] == 1
    assert across[-1] == count
    assert up[0] == pytest.approx(np.min(durations), rel=2e-3)
    assert up[-1] == pytest.approx(np.max(durations), rel=2e-3)


def test_a_curve_passes_through_the_percentiles() -> None:
    curve = dict(percentile_curve(subject([list(range(1, 1001))])))
    at = {round(nines, 6): value for nines, value in curve.items()}
    assert at[10] == pytest.approx(900, rel=2e-3)
    assert at[100] == pytest.approx(990, rel=2e-3)


@pytest.mark.parametrize("subjects", [1, 2, 9])
def test_each_subject_has_a_line_and_a_name(subjects: int) -> None:
    text = plot(report([subject([[1.0, 2.0, 3.0]], threads=each + 1) for each in range(subjects)]))
    lines = drawn(text, "polyline")
    assert len(lines) == subjects
    looks = {(each.get("stroke"), each.get("stroke-dasharray")) for each in lines}
    assert len(looks) == subjects, "each can be told from the others"
    assert sum("litert 2.3.0" in each for each in words(text)) == subjects


def test_the_lines_stay_on_the_paper_and_rise_to_the_right() -> None:
    text = plot(report([subject([[0.001, 5.0, 400.0]]), subject([[1.0] * 5000], threads=2)]))
    _, _, width, height = map(float, ET.fromstring(text).get("viewBox", "").split())  # noqa: S314
    for line in drawn(text, "polyline"):
        points = [tuple(map(float, each.split(","))) for each in line.get("points", "").split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))


def test_the_axes_name_their_units_and_the_pace() -> None:
    paced = words(plot(report([subject([[1.0] * 2000])], rate_hz=30.0)))
    assert "latency (ms)" in paced
    assert any("percentile" in each for each in paced)
    assert {"0 %", "90 %", "99 %", "99.9 %"} <= set(paced)
    assert any("paced" in each for each in paced)
    fast = words(plot(report([subject([[1.0] * 2000])])))
    assert any("as fast as possible" in each for each in fast)


def test_names_from_outside_are_escaped() -> None:
    text = plot(report([subject([[1.0, 2.0]], model="<a&b>.tflite")]))
    assert any("<a&b>.tflite" in each for each in words(text))
