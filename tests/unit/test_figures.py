"""Nothing is lost between windows: what each of them held adds up to the total, exactly."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.latency.figures import RECENT_NS, Figures, Window, distribution, percentiles
from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram
from edge.messages import STAGES, Dropped

if TYPE_CHECKING:
    from collections.abc import Iterable

MS = 1_000_000
SECOND_NS = 1_000_000_000
START_NS = 42 * SECOND_NS


def some_figures(deadline_ms: float = 50) -> Figures:
    return Figures(deadline_ms, now_ns=START_NS)


def stages(total_ns: int) -> dict[str, int]:
    """A frame that took so long, most of it in the forward pass."""
    spent = {"capture": total_ns // 10, "wait": total_ns // 20, "preprocess": total_ns // 20}
    rest = total_ns - sum(spent.values())
    return {**spent, "inference": rest - rest // 10, "decode": rest // 10}


def histogram_of(latencies_ns: Iterable[int]) -> Histogram:
    histogram = Histogram()
    for latency_ns in latencies_ns:
        histogram.record(latency_ns // 1000)
    return histogram


def seconds(number: float) -> int:
    return START_NS + round(number * SECOND_NS)


def test_a_window_holds_what_happened_in_it_and_the_next_begins_empty() -> None:
    figures = some_figures()
    for _ in range(3):
        assert figures.result(stages(10 * MS)) is None
    figures.failed()
    figures.lost(mailbox=4, source=2)
    first = figures.end_window(seconds(2))
    assert first.seconds == 2.0
    assert (first.counts.frames, first.counts.failed, first.counts.misses) == (3, 1, 0)
    assert first.counts.drops() == Dropped(mailbox=4, deadline=0, source=2, skipped=0)
    assert first.latency.count == 3

    second = figures.end_window(seconds(5))
    assert second.seconds == 3.0
    assert (second.counts.frames, second.counts.failed, second.counts.misses) == (0, 0, 0)
    assert second.counts.drops() == Dropped(mailbox=0, deadline=0, source=0, skipped=0)
    assert second.latency.count == 0
    assert second.recent.count == second.total.count == 3
    assert (figures.total.frames, figures.total.failed) == (3, 1)
    assert figures.total.drops() == Dropped(mailbox=4, deadline=0, source=2, skipped=0)


def test_the_first_window_is_not_changed_by_what_comes_after_it() -> None:
    figures = some_figures()
    figures.result(stages(10 * MS))
    window = figures.end_window(seconds(1))
    figures.result(stages(90 * MS))
    figures.lost(mailbox=1)
    figures.end_window(seconds(2))
    assert window.counts.frames == 1
    assert window.counts.misses == 0
    assert window.counts.drops() == Dropped(mailbox=0, deadline=0, source=0, skipped=0)
    assert window.latency.count == 1


def test_times_come_out_in_milliseconds_to_a_thousandth_of_their_value() -> None:
    figures = some_figures()
    for number in range(1, 1001):
        figures.result({"inference": number * MS})
    latency = figures.end_window(seconds(1)).latency
    assert latency.count == 1000
    assert latency.mean == pytest.approx(500.5, rel=1e-3)
    assert latency.p50 == pytest.approx(500, rel=1e-3)
    assert latency.p90 == pytest.approx(900, rel=1e-3)
    assert latency.p95 == pytest.approx(950, rel=1e-3)
    assert latency.p99 == pytest.approx(990, rel=1e-3)
    assert latency.p99_9 == pytest.approx(999, rel=1e-3)
    assert latency.max == pytest.approx(1000, rel=1e-3)


def test_an_empty_window_has_no_figures_but_its_count() -> None:
    latency = some_figures().end_window(seconds(1)).latency
    assert latency.count == 0
    assert {latency.mean, latency.p50, latency.p95, latency.p99, latency.p99_9, latency.max} == {
        None
    }
    assert decode(latency.hdr).count == 0


@pytest.mark.parametrize(
    ("percentile", "needed"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100), ("p99_9", 1000)]
)
def test_a_percentile_the_sample_cannot_support_is_null(percentile: str, needed: int) -> None:
    figures = some_figures()
    for _ in range(needed - 1):
        figures.result(stages(10 * MS))
    assert getattr(figures.end_window(seconds(1)).total, percentile) is None
    figures.result(stages(10 * MS))
    window = figures.end_window(seconds(2))
    assert getattr(window.total, percentile) == pytest.approx(10, rel=1e-3)
    assert getattr(window.latency, percentile) is None  # one frame


def test_every_stage_is_timed_and_together_they_are_the_latency() -> None:
    figures = some_figures()
    for _ in range(100):
        figures.result(stages(20 * MS))
    window = figures.end_window(seconds(1))
    assert tuple(window.stages) == STAGES
    expected = {stage: spent_ns / MS for stage, spent_ns in stages(20 * MS).items()}
    for stage, figure in window.stages.items():
        assert figure.count == 100
        assert figure.p99 == pytest.approx(expected[stage], rel=2e-3)
    assert sum(expected.values()) == 20
    assert window.latency.p50 == pytest.approx(20, rel=1e-3)


def test_the_brokers_acknowledgements_are_timed_apart() -> None:
    figures = some_figures()
    figures.result(stages(10 * MS))
    figures.acknowledged(35 * MS)
    figures.acknowledged(45 * MS)
    window = figures.end_window(seconds(1))
    assert window.acknowledged.count == 2
    assert window.acknowledged.max == pytest.approx(45, rel=1e-3)
    assert window.latency.count == 1
    assert figures.end_window(seconds(2)).acknowledged.count == 0


def test_hits_move_no_figure_of_forward_passes() -> None:
    alone, with_hits = some_figures(), some_figures()
    for number in range(1, 1201):
        alone.result(stages(number * MS // 30))
        with_hits.result(stages(number * MS // 30))
        for _ in range(9):
            assert with_hits.hit({"capture": MS // 5, "wait": MS // 20, "inference": 0}) is None
    one, other = alone.end_window(seconds(1)), with_hits.end_window(seconds(1))
    assert one.latency.p99 == pytest.approx(39.6, rel=1e-3)
    for name in ("latency", "recent", "total", "stages", "acknowledged", "blamed"):
        assert getattr(one, name) == getattr(other, name)
    assert (other.counts.frames, other.counts.hits) == (12_000, 10_800)
    assert other.hits == other.hits_total
    assert other.hits.count == 10_800
    assert other.hits.p99 == pytest.approx(0.25, rel=1e-3)
    assert (one.counts.hits, one.hits.count) == (0, 0)


def test_hits_are_counted_and_timed_by_window_and_in_all() -> None:
    figures = some_figures()
    figures.hit({"capture": 2 * MS})
    figures.acknowledged(7 * MS, hit=True)
    first = figures.end_window(seconds(1))
    figures.hit({"capture": 4 * MS})
    figures.hit({"capture": 4 * MS})
    second = figures.end_window(seconds(2))
    assert [window.counts.hits for window in (first, second)] == [1, 2]
    assert figures.total.hits == 3
    assert (first.hits.count, second.hits.count, second.hits_total.count) == (1, 2, 3)
    assert first.hits_acknowledged.max == pytest.approx(7, rel=1e-3)
    assert (first.acknowledged.count, second.hits_acknowledged.count) == (0, 0)
    merged = decode(first.hits.hdr)
    merged.merge(decode(second.hits.hdr))
    assert distribution(merged) == second.hits_total


def test_a_late_hit_is_a_miss_of_the_deadline_and_its_stage_is_blamed() -> None:
    figures = some_figures(deadline_ms=50)
    for _ in range(20):
        figures.result(stages(20 * MS))
    late = {"capture": 55 * MS, "wait": 1 * MS, "preprocess": 1 * MS, "inference": 0, "decode": 0}
    assert figures.hit(late) == "capture"
    window = figures.end_window(seconds(1))
    assert (window.counts.frames, window.counts.misses) == (21, 1)
    assert window.blamed["capture"] == 1


def test_hits_do_not_change_what_is_usual() -> None:
    figures = some_figures(deadline_ms=50)
    for _ in range(20):
        figures.result(stages(40 * MS))
    usual = {stage: figures.deadline.usual_ns(stage) for stage in STAGES}
    for _ in range(500):
        figures.hit({**dict.fromkeys(STAGES, 0), "capture": 1 * MS})
    assert {stage: figures.deadline.usual_ns(stage) for stage in STAGES} == usual
    # A forward pass as slow as ever is not blamed for what a late camera spent.
    assert figures.result({**stages(40 * MS), "capture": 25 * MS}) == "capture"


def test_a_late_result_is_a_miss_and_a_latency_and_its_stage_is_blamed() -> None:
    figures = some_figures(deadline_ms=50)
    for _ in range(20):
        figures.result(stages(20 * MS))
    late = {**stages(20 * MS), "wait": 60 * MS}
    assert figures.result(late) == "wait"
    window = figures.end_window(seconds(1))
    assert (window.counts.frames, window.counts.misses) == (21, 1)
    assert window.blamed == {**dict.fromkeys(STAGES, 0), "wait": 1}
    assert window.latency.count == 21
    assert window.counts.drops().deadline == 0


def test_a_frame_dropped_late_is_a_miss_and_a_drop_but_no_latency() -> None:
    figures = some_figures(deadline_ms=50)
    for _ in range(20):
        figures.result(stages(20 * MS))
    assert figures.late({"capture": 70 * MS, "wait": 1 * MS, "preprocess": 1 * MS}) == "capture"
    window = figures.end_window(seconds(1))
    assert (window.counts.frames, window.counts.misses) == (20, 1)
    assert window.counts.drops() == Dropped(mailbox=0, deadline=1, source=0, skipped=0)
    assert window.blamed["capture"] == 1
    assert window.latency.count == 20


def test_frames_lost_by_the_source_are_drops_but_no_misses_and_no_latencies() -> None:
    figures = some_figures()
    figures.lost(source=7)
    window = figures.end_window(seconds(1))
    assert window.counts.misses == 0
    assert window.latency.count == 0
    assert window.counts.drops() == Dropped(mailbox=0, deadline=0, source=7, skipped=0)


def test_what_is_usual_outlives_the_window() -> None:
    figures = some_figures(deadline_ms=50)
    for _ in range(20):
        figures.result(stages(20 * MS))
    figures.end_window(seconds(1))
    # In a fresh monitor the forward pass would be blamed, being the largest stage.
    assert figures.result({**stages(40 * MS), "capture": 25 * MS}) == "capture"


def test_windows_merge_to_the_total_exactly() -> None:
    figures, chance = some_figures(), random.Random(3)  # noqa: S311
    latencies, merged, total = [], Histogram(), None
    for number in range(40):
        for _ in range(chance.randrange(60)):
            latencies.append(round(chance.lognormvariate(16.5, 0.8)))  # about 15 ms
            figures.result(stages(latencies[-1]))
        window = figures.end_window(seconds(10 * (number + 1)))
        merged.merge(decode(window.latency.hdr))
        total = window.total
    assert total is not None
    assert decode(total.hdr) == merged == histogram_of(latencies)
    assert total.count == len(latencies) == figures.total.frames
    assert distribution(merged) == total


def test_recent_is_the_last_five_minutes() -> None:
    figures = some_figures()
    windows: list[tuple[int, list[int], Window]] = []
    for number in range(20):  # a minute each
        latencies = [(number + 1) * MS] * (number + 1)
        for latency_ns in latencies:
            figures.result(stages(latency_ns))
        windows.append(
            (seconds(60 * number), latencies, figures.end_window(seconds(60 * number + 60)))
        )
        now_ns = seconds(60 * number + 60)
        recent = [each for began_ns, each, _ in windows if began_ns >= now_ns - RECENT_NS]
        assert len(recent) == min(number + 1, 5)
        expected = histogram_of(latency for each in recent for latency in each)
        assert decode(windows[-1][2].recent.hdr) == expected


def test_recent_is_at_least_the_window_itself_however_long_it_was() -> None:
    figures = some_figures()
    figures.result(stages(10 * MS))
    figures.end_window(seconds(1))
    figures.result(stages(20 * MS))
    window = figures.end_window(seconds(3600))
    assert window.recent.count == 1
    assert window.recent == window.latency


def test_what_is_remembered_does_not_grow_with_time() -> None:
    figures = some_figures()
    for number in range(400):
        figures.end_window(seconds(number + 1))
    assert len(figures._recent) == 300


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("result"), st.integers(0, 200)),
        st.tuples(st.just("hit"), st.integers(0, 200)),
        st.tuples(st.just("late"), st.integers(51, 200)),
        st.tuples(st.just("mailbox"), st.integers(0, 5)),
        st.tuples(st.just("source"), st.integers(0, 5)),
        st.tuples(st.just("failed"), st.just(1)),
        st.tuples(st.just("window"), st.just(0)),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(EVENTS)
def test_no_frame_and_no_drop_is_lost_or_counted_twice_between_windows(
    events: list[tuple[str, int]],
) -> None:
    figures = some_figures(deadline_ms=50)
    windows, now_ns = [], START_NS
    for event, number in [*events, ("window", 0)]:
        if event == "result":
            figures.result(stages(number * MS))
        elif event == "hit":
            figures.hit({"capture": number * MS})
        elif event == "late":
            figures.late({"capture": number * MS, "wait": 0, "preprocess": 0})
        elif event == "mailbox":
            figures.lost(mailbox=number)
        elif event == "source":
            figures.lost(source=number)
        elif event == "failed":
            figures.failed()
        else:
            now_ns += SECOND_NS
            windows.append(figures.end_window(now_ns))

    def told(kind: str) -> list[int]:
        return [number for event, number in events if event == kind]

    expected = {
        "frames": len(told("result")) + len(told("hit")),
        "hits": len(told("hit")),
        "failed": len(told("failed")),
        "misses": sum(n > 50 for n in told("result") + told("hit")) + len(told("late")),
        "mailbox": sum(told("mailbox")),
        "deadline": len(told("late")),
        "source": sum(told("source")),
    }
    for counts in ([window.counts for window in windows], [figures.total]):
        assert expected == {
            "frames": sum(each.frames for each in counts),
            "hits": sum(each.hits for each in counts),
            "failed": sum(each.failed for each in counts),
            "misses": sum(each.misses for each in counts),
            "mailbox": sum(each.drops().mailbox for each in counts),
            "deadline": sum(each.drops().deadline for each in counts),
            "source": sum(each.drops().source for each in counts),
        }
    assert sum(sum(window.blamed.values()) for window in windows) == expected["misses"]
    assert sum(window.latency.count for window in windows) == len(told("result"))
    assert windows[-1].total.count == len(told("result"))
    assert sum(window.hits.count for window in windows) == expected["hits"]
    assert windows[-1].hits_total.count == expected["hits"]


def test_the_short_form_is_the_long_one_without_its_histogram() -> None:
    histogram = histogram_of(number * MS for number in range(1, 201))
    short, long = percentiles(histogram), distribution(histogram)
    for name in ("count", "mean", "p50", "p90", "p95", "p99", "max"):
        assert getattr(short, name) == getattr(long, name)
    assert decode(long.hdr) == histogram
