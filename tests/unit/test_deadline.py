"""A frame that missed its deadline is blamed on the stage that exceeded its usual time."""

from __future__ import annotations

import pytest

from edge.latency.deadline import DeadlineMonitor

MS = 1_000_000
USUAL = {"capture": 5 * MS, "wait": 1 * MS, "preprocess": 2 * MS, "inference": 20 * MS}


def settled(deadline_ms: float = 50) -> DeadlineMonitor:
    monitor = DeadlineMonitor(deadline_ms)
    for _ in range(100):
        assert monitor.blame(USUAL) is None
    return monitor


def test_a_frame_is_in_time_up_to_its_deadline_and_not_beyond() -> None:
    monitor = DeadlineMonitor(10)
    assert monitor.blame({"capture": 4 * MS, "inference": 6 * MS}) is None
    assert monitor.blame({"capture": 4 * MS, "inference": 6 * MS + 1}) is not None


@pytest.mark.parametrize("stage", USUAL)
def test_the_blame_goes_to_the_stage_that_exceeded_its_usual_time(stage: str) -> None:
    assert settled().blame({**USUAL, stage: USUAL[stage] + 30 * MS}) == stage


def test_a_slow_model_is_not_blamed_for_what_a_late_camera_spent() -> None:
    # The forward pass is still the longest stage of this frame, and took a little longer.
    assert settled(40).blame({**USUAL, "capture": 18 * MS, "inference": 21 * MS}) == "capture"


def test_the_first_frame_that_misses_is_blamed_on_its_largest_stage() -> None:
    assert DeadlineMonitor(5).blame(USUAL) == "inference"


def test_a_frame_dropped_before_the_forward_pass_is_blamed_among_the_stages_it_went_through() -> (
    None
):
    assert settled(40).blame({"capture": 5 * MS, "wait": 40 * MS, "preprocess": 2 * MS}) == "wait"


def test_what_is_usual_is_learnt_from_frames_in_time_only() -> None:
    monitor = settled()
    before = {stage: monitor.usual_ns(stage) for stage in USUAL}
    for _ in range(1000):
        assert monitor.blame({**USUAL, "wait": 100 * MS}) == "wait"
    assert {stage: monitor.usual_ns(stage) for stage in USUAL} == before


def test_what_is_usual_follows_a_change_that_lasts() -> None:
    monitor = settled()
    for _ in range(500):
        assert monitor.blame({**USUAL, "preprocess": 12 * MS}) is None
    assert monitor.usual_ns("preprocess") == pytest.approx(12 * MS, rel=0.01)
    assert monitor.usual_ns("inference") == pytest.approx(20 * MS, rel=0.01)


def test_a_single_odd_frame_hardly_changes_what_is_usual() -> None:
    monitor = settled()
    monitor.blame({**USUAL, "wait": 17 * MS})
    assert monitor.usual_ns("wait") < 2 * MS


def test_nothing_is_usual_before_a_frame_was_in_time() -> None:
    monitor = DeadlineMonitor(5)
    assert monitor.usual_ns("inference") == 0
    monitor.blame(USUAL)
    assert monitor.usual_ns("inference") == 0
