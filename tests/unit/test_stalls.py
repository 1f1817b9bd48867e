"""Only what a fixed-rate source must have lost is counted; jitter and darkness lose nothing."""

from __future__ import annotations

import random

import pytest

from edge.latency.stalls import StallWatch

MS = 1_000_000
PERIOD_NS = 33_333_333


class Camera:
    """Feeds a watch with capture times, given as intervals."""

    def __init__(self, *, period_ns: int = PERIOD_NS, settled: int = 60) -> None:
        self.watch = StallWatch()
        self.period_ns = period_ns
        self._now_ns = 1_000_000_000
        self.lost = self.watch.gap(self._now_ns)
        self.frames(settled)
        assert self.lost == 0

    def interval(self, interval_ns: float) -> int:
        self._now_ns += round(interval_ns)
        lost = self.watch.gap(self._now_ns)
        self.lost += lost
        return lost

    def frames(self, count: int) -> int:
        """So many frames at the camera's own pace; how many they say were lost."""
        return sum(self.interval(self.period_ns) for _ in range(count))


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3, 0.45])
def test_jitter_is_no_loss(jitter: float) -> None:
    camera, chance = Camera(), random.Random(1)  # noqa: S311
    late = 0.0
    for _ in range(2000):  # each frame is late by its own amount, the next is not the later for it
        before, late = late, chance.uniform(0, jitter)
        camera.interval((1 + late - before) * PERIOD_NS)
    assert camera.lost == 0


@pytest.mark.parametrize("periods", [2, 3, 10, 300])
@pytest.mark.parametrize("period_ns", [100_000, PERIOD_NS, 1_000 * MS])
def test_a_gap_of_n_periods_loses_one_frame_less(period_ns: int, periods: int) -> None:
    camera = Camera(period_ns=period_ns)
    camera.interval(periods * period_ns)
    camera.frames(100)
    assert camera.lost == periods - 1


def test_a_loss_is_told_with_the_next_frame_for_only_then_no_burst_can_pay_it_back() -> None:
    camera = Camera()
    assert camera.interval(4 * PERIOD_NS) == 0
    assert camera.interval(PERIOD_NS) == 3
    assert camera.frames(100) == 0


def test_every_gap_is_counted_once() -> None:
    camera = Camera()
    for periods in (3, 5, 2):
        camera.interval(periods * PERIOD_NS)
        camera.frames(20)
    assert camera.lost == 2 + 4 + 1


def test_two_gaps_in_a_row_are_both_counted() -> None:
    camera = Camera()
    camera.interval(3 * PERIOD_NS)
    camera.interval(6 * PERIOD_NS)
    camera.frames(10)
    assert camera.lost == 2 + 5


def test_frames_that_come_in_a_burst_after_a_gap_were_late_and_not_lost() -> None:
    camera = Camera()
    camera.interval(5 * PERIOD_NS)
    for _ in range(4):
        camera.interval(MS)
    camera.frames(20)
    assert camera.lost == 0


def test_a_burst_pays_back_only_as_many_as_came() -> None:
    camera = Camera()
    camera.interval(8 * PERIOD_NS)
    for _ in range(3):
        camera.interval(MS)
    camera.frames(20)
    assert camera.lost == 4


def test_a_burst_without_a_gap_is_no_credit_for_later() -> None:
    camera = Camera()
    for _ in range(5):
        camera.interval(MS)
    camera.frames(40)
    camera.interval(4 * PERIOD_NS)
    camera.frames(20)
    assert camera.lost == 3


@pytest.mark.parametrize("slower", [2, 3, 6])
def test_a_camera_that_slows_down_in_the_dark_loses_a_couple_of_frames_at_most(
    slower: int,
) -> None:
    camera, chance = Camera(), random.Random(2)  # noqa: S311
    for _ in range(200):  # 30 fps to 15, 10 or 5, with a little jitter
        camera.interval((slower + chance.uniform(-0.1, 0.1)) * PERIOD_NS)
    assert camera.lost <= 2 * (slower - 1)


def test_a_camera_that_slows_down_by_and_by_loses_nothing() -> None:
    camera = Camera()
    for step in range(200):
        camera.interval(PERIOD_NS * (1 + step / 100))
    assert camera.lost == 0


def test_a_camera_that_is_fast_again_in_the_light_loses_nothing() -> None:
    camera = Camera(period_ns=2 * PERIOD_NS)
    camera.period_ns = PERIOD_NS
    assert camera.frames(200) == 0


def test_after_its_rate_has_changed_its_gaps_are_told_from_the_new_one() -> None:
    camera = Camera()
    camera.period_ns = 2 * PERIOD_NS
    camera.frames(60)
    before = camera.lost
    camera.interval(3 * camera.period_ns)
    camera.frames(60)
    assert camera.lost - before == 2


def test_nothing_is_counted_before_the_period_is_known() -> None:
    camera = Camera(settled=5)
    camera.interval(10 * PERIOD_NS)
    camera.frames(5)
    assert camera.lost == 0


def test_the_time_the_source_was_away_is_no_stall() -> None:
    camera = Camera()
    camera.watch.restart()
    camera.interval(100 * PERIOD_NS)
    assert camera.frames(60) == 0
    camera.interval(3 * PERIOD_NS)
    assert camera.frames(5) == 2


def test_restarting_forgets_a_gap_that_was_not_told_yet() -> None:
    camera = Camera()
    camera.interval(9 * PERIOD_NS)
    camera.watch.restart()
    camera.period_ns = 10 * MS
    assert camera.frames(60) == 0


def test_stamps_that_stand_still_or_run_backwards_lose_nothing() -> None:
    camera = Camera()
    for interval_ns in (0, -5 * MS, 0, PERIOD_NS, PERIOD_NS):
        camera.interval(interval_ns)
    assert camera.lost == 0
