"""Our histogram counts, rounds and merges as HdrHistogram does, and admits what it cannot know."""

import math
import pickle
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.latency.histogram import ONE_HOUR_US, Histogram

PARAMETERS = [
    (1, ONE_HOUR_US, 3),
    (1, 60_000_000, 2),
    (20, 1_000_000, 3),
    (1000, 3_600_000_000_000, 1),
    (1, 100_000, 4),
    (1, 300_000, 5),
]

# Like latencies: most of them near a typical value, some far above, some zero.
latencies = st.one_of(
    st.integers(0, 3000),
    st.integers(0, 100_000),
    st.floats(0, 13.8).map(lambda exponent: int(math.exp(exponent))),
)
samples = st.lists(st.tuples(latencies, st.integers(1, 200)), max_size=60)


def recorded(values: list[tuple[int, int]], parameters: tuple[int, int, int]) -> Histogram:
    histogram = Histogram(*parameters)
    for value, count in values:
        histogram.record(value, count)
    return histogram


def oracle(values: list[tuple[int, int]], parameters: tuple[int, int, int]) -> Any:
    reference = pytest.importorskip("hdrh.histogram", reason="hdrhistogram: x86-64 wheels only")
    histogram = reference.HdrHistogram(*parameters)
    for value, count in values:
        assert histogram.record_value(value, count)
    return histogram


@settings(max_examples=25, deadline=None)
@given(values=samples, parameters=st.sampled_from(PARAMETERS[:4]), data=st.data())
def test_it_answers_what_hdrhistogram_answers(
    values: list[tuple[int, int]], parameters: tuple[int, int, int], data: st.DataObject
) -> None:
    ours, theirs = recorded(values, parameters), oracle(values, parameters)

    assert ours.count == theirs.get_total_count()
    assert ours.min == theirs.get_min_value()
    assert ours.max == theirs.get_max_value()
    assert ours.mean == pytest.approx(theirs.get_mean_value(), rel=1e-12)
    assert ours.counts_length == theirs.counts_len
    assert ours.counts == {i: n for i, n in enumerate(theirs.counts) if n}
    # The C and Python ports round a rank to the nearest where Java rounds it up: ask between.
    for rank in data.draw(st.lists(st.integers(1, max(1, ours.count)), max_size=4)):
        q = 100 * (rank - 0.25) / max(1, ours.count)
        assert ours.percentile(q) == theirs.get_value_at_percentile(q)
    assert ours.percentile(0) == theirs.get_value_at_percentile(0)
    assert ours.percentile(100) == theirs.get_value_at_percentile(100)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_every_value_falls_where_hdrhistogram_puts_it(parameters: tuple[int, int, int]) -> None:
    highest = parameters[1]
    theirs = oracle([], parameters)
    edges = {2**bits + step for bits in range(1, 42) for step in (-1, 0, 1)}
    for value in [*sorted(edge for edge in edges if edge <= highest), highest]:
        ours = recorded([(value, 1)], parameters)
        assert list(ours.counts) == [theirs.get_counts_array_index(value)], value
        assert ours.min == theirs.get_lowest_equivalent_value(value)
        assert ours.max == theirs.get_highest_equivalent_value(value)


@pytest.mark.parametrize("q", [0.1, 10, 50, 90, 95, 99, 99.9, 100])
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(q: float) -> None:
    histogram = Histogram()
    for n in range(1, 601):
        histogram.record(n)  # values below 2048 are kept exactly, so the value is its rank
        assert histogram.percentile(q) == math.ceil(Fraction(str(q)) * n / 100), n


def test_a_value_is_kept_to_its_figures() -> None:
    for value in (0, 1, 2047, 2048, 123_456, 987_654_321, ONE_HOUR_US):
        histogram = recorded([(value, 1)], PARAMETERS[0])
        assert histogram.min <= value <= histogram.max
        assert histogram.max - histogram.min <= value / 1000
        assert histogram.percentile(50) == histogram.max


def test_an_empty_histogram_is_all_zeros_and_supports_nothing() -> None:
    empty = Histogram()
    assert (empty.count, empty.min, empty.max, empty.mean, empty.saturated) == (0, 0, 0, 0.0, 0)
    assert empty.percentile(0) == empty.percentile(50) == empty.percentile(100) == 0
    assert empty.supported_percentile(0) is None
    assert empty.supported_percentile(50) is None


@pytest.mark.parametrize("q", [-0.1, 100.1, math.nan])
def test_a_percentile_outside_0_to_100_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(q)


@pytest.mark.parametrize(
    ("q", "needed"),
    [(0, 1), (50, 2), (75, 4), (90, 10), (95, 20), (99, 100), (99.9, 1000), (99.99, 10_000)],
)
def test_a_percentile_the_sample_cannot_support_is_none(q: float, needed: int) -> None:
    histogram = recorded([(7, needed - 1)] if needed > 1 else [], PARAMETERS[0])
    assert histogram.supported_percentile(q) is None
    histogram.record(7)
    assert histogram.supported_percentile(q) == 7


def test_float_error_never_moves_the_support_of_a_percentile() -> None:
    for thousandth in range(0, 100_000, 13):
        needed = math.ceil(Fraction(100_000, 100_000 - thousandth))
        q = thousandth / 1000
        enough = recorded([(7, needed)], PARAMETERS[0])
        assert enough.supported_percentile(q) == 7, q
        if needed > 1:
            assert recorded([(7, needed - 1)], PARAMETERS[0]).supported_percentile(q) is None, q


def test_no_sample_supports_the_hundredth_percentile() -> None:
    assert recorded([(7, 10**9)], PARAMETERS[0]).supported_percentile(100) is None


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(samples, max_size=5), parameters=st.sampled_from(PARAMETERS))
def test_merging_equals_recording_the_pooled_values(
    parts: list[list[tuple[int, int]]], parameters: tuple[int, int, int]
) -> None:
    pooled = recorded([pair for part in parts for pair in part], parameters)
    merged = Histogram.merged(recorded(part, parameters) for part in [*parts, []])
    assert merged == pooled
    assert merged.saturated == pooled.saturated
    assert (merged.count, merged.min, merged.max) == (pooled.count, pooled.min, pooled.max)
    assert merged.mean == pooled.mean
    assert [merged.percentile(q) for q in (1, 50, 99)] == [
        pooled.percentile(q) for q in (1, 50, 99)
    ]


def test_merging_leaves_its_parts_alone() -> None:
    first, second = recorded([(5, 1)], PARAMETERS[0]), recorded([(9, 2)], PARAMETERS[0])
    Histogram.merged([first, second])
    assert (first.count, second.count) == (1, 2)
    first.merge(first)
    assert first.counts == {5: 2}


def test_merging_none_gives_an_empty_histogram_of_the_default_range() -> None:
    assert Histogram.merged([]) == Histogram()


@pytest.mark.parametrize(
    "other", [(2, ONE_HOUR_US, 3), (1, ONE_HOUR_US - 1, 3), (1, ONE_HOUR_US, 2)]
)
def test_histograms_of_other_parameters_do_not_merge(other: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        Histogram().merge(Histogram(*other))
    assert Histogram() != Histogram(*other)


def test_a_value_above_the_range_counts_as_the_highest_and_is_told() -> None:
    histogram = Histogram()
    histogram.record(ONE_HOUR_US)
    assert histogram.saturated == 0
    histogram.record(10**15, 3)
    assert histogram.saturated == 3
    assert len(histogram.counts) == 1
    assert Histogram.merged([histogram, histogram]).saturated == 6
    assert histogram.copy().saturated == 3


@pytest.mark.parametrize(("value", "count"), [(-1, 1), (1, 0), (10**12, -1)])
def test_negative_values_and_counts_below_one_are_refused(value: int, count: int) -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="cannot record"):
        histogram.record(value, count)
    assert (histogram.count, histogram.saturated) == (0, 0)


@pytest.mark.parametrize(
    "parameters",
    [
        (0, 100, 3),
        (-5, 100, 3),
        (51, 100, 3),
        (1, 2**63, 3),
        (1, 100, 0),
        (1, 100, 6),
        (2**55, 2**62, 3),
    ],
)
def test_absurd_parameters_are_refused(parameters: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"histogram|figures"):
        Histogram(*parameters)


def test_a_copy_goes_its_own_way() -> None:
    original = recorded([(5, 1)], PARAMETERS[1])
    twin = original.copy()
    assert twin == original
    twin.record(6)
    assert twin != original
    assert original.count == 1


def test_percentiles_follow_what_is_recorded_and_cleared_between_them() -> None:
    histogram = recorded([(10, 1)], PARAMETERS[0])
    assert histogram.percentile(100) == 10
    histogram.record(20)
    assert histogram.percentile(100) == 20
    histogram.clear()
    assert histogram.percentile(100) == 0
    histogram.record(30)
    histogram.record(40)
    assert histogram.percentile(50) == 30
    histogram.record(10**12)
    histogram.clear()
    assert histogram == Histogram()
    assert histogram.saturated == 0


def test_it_crosses_a_process_boundary_but_is_no_dictionary_key() -> None:
    histogram = recorded([(5, 2), (10**12, 1)], PARAMETERS[0])
    revived = pickle.loads(pickle.dumps(histogram))  # noqa: S301
    assert revived == histogram
    assert revived.saturated == 1
    assert histogram != "something else"
    assert repr(histogram).startswith("<Histogram of 3 values, 5 to 36")
    with pytest.raises(TypeError, match="unhashable"):
        hash(histogram)


def test_the_supervisor_gets_it_without_numpy() -> None:
    script = "import sys, edge.latency.hdr_codec; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
