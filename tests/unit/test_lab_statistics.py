"""The lab's figures: which a sample carries, and when a ratio of two runs says something."""

import numpy as np
import pytest
from lab_reports import subject

from edge.lab.statistics import FEWEST_SLICES, Both, histogram_ns, ratio
from edge.latency.histogram import Histogram

NOISE = np.random.default_rng(1)


def slices(median: float, spread: float = 0.01, count: int = 20) -> list[float]:
    """Return the medians of slices that differ by so much."""
    drawn: list[float] = NOISE.normal(median, median * spread, count).tolist()
    return drawn


@pytest.mark.parametrize(
    ("count", "carried"),
    [
        (1, set()),
        (2, {"p50"}),
        (9, {"p50"}),
        (10, {"p50", "p90"}),
        (20, {"p50", "p90", "p95"}),
        (99, {"p50", "p90", "p95"}),
        (100, {"p50", "p90", "p95", "p99"}),
        (999, {"p50", "p90", "p95", "p99"}),
        (1000, {"p50", "p90", "p95", "p99", "p99_9"}),
    ],
)
def test_a_percentile_that_the_sample_cannot_carry_is_null(count: int, carried: set[str]) -> None:
    latency = subject([[1.0] * count]).latency_ms
    given = {name for name, value in latency if name.startswith("p") and value is not None}
    assert given == carried
    assert latency.count == count
    assert latency.max is not None
    assert latency.mean is not None


def test_figures_are_those_of_all_slices_together() -> None:
    latency = subject([[3.0, 1.0], [2.0], list(range(4, 101))]).latency_ms
    assert latency.count == 100
    assert latency.p50 == pytest.approx(50, rel=1e-3)
    assert latency.p90 == pytest.approx(90, rel=1e-3)
    assert latency.p99 == pytest.approx(99, rel=1e-3)
    assert latency.max == pytest.approx(100, rel=1e-3)
    assert latency.mean == pytest.approx(50.5, rel=1e-3)


def test_histograms_of_two_runs_merge_to_that_of_all_invokes() -> None:
    one, other = NOISE.integers(2_000, 90_000, (2, 500))
    merged = Histogram.merged([histogram_ns([one]), histogram_ns([other])])
    assert merged == histogram_ns([one, other])


def test_a_clear_difference_is_told() -> None:
    found = ratio(Both(slices(1.2), slices(1.0)))
    assert found is not None
    assert found.can_tell
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(1.2, rel=0.02)


def test_noise_wider_than_the_difference_cannot_be_told() -> None:
    found = ratio(Both(slices(1.02, spread=0.3), slices(1.0, spread=0.3)))
    assert found is not None
    assert not found.can_tell


def test_what_the_control_took_longer_as_well_is_no_difference() -> None:
    subject, control = Both(slices(1.2), slices(1.0)), Both(slices(0.12), slices(0.1))
    found = ratio(subject, control)
    assert found is not None
    assert found.low < 1 < found.high
    alone = ratio(subject)
    assert alone is not None
    assert alone.value == found.value


def test_a_quiet_control_leaves_a_difference_standing() -> None:
    found = ratio(Both(slices(0.5), slices(1.0)), Both(slices(0.1), slices(0.1)))
    assert found is not None
    assert found.high < 0.6


def test_too_few_slices_have_no_interval() -> None:
    enough, few = slices(1.0), slices(1.0, count=FEWEST_SLICES - 1)
    assert ratio(Both(few, enough)) is None
    assert ratio(Both(enough, few)) is None
    assert ratio(Both(enough, enough), Both(enough, few)) is None
    assert ratio(Both(enough, enough)) is not None


def test_the_interval_of_equal_runs_holds_1_about_as_often_as_it_says() -> None:
    found = [ratio(Both(slices(1.0), slices(1.0))) for _ in range(200)]
    held = sum(each is not None and not each.can_tell for each in found)
    assert held > 170  # 95 % of 200 are 190
