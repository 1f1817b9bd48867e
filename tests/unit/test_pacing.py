"""A paced frame's capture time is the moment it was due; what was never taken is counted once."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standing_clock import StandingClock

from edge.sources.pacing import Pacer

MS = 1_000_000
LONG_S = 20.0  # never reached, unless something hangs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    clock = StandingClock()
    clock.use(monkeypatch)
    return clock


def due(pacer: Pacer, clock: StandingClock) -> tuple[int, int]:
    frame = pacer.next(clock)
    assert frame is not None
    return frame


def test_the_first_frame_is_due_at_once(clock: StandingClock) -> None:
    began_ns = clock.now_ns
    assert due(Pacer(fps=1), clock) == (0, began_ns)
    assert clock.now_ns == began_ns


@pytest.mark.parametrize("fps", [0.5, 7, 30, 1000])
def test_capture_times_are_the_due_times_however_late_one_wakes_up(
    clock: StandingClock, fps: float
) -> None:
    pacer = Pacer(fps)
    began_ns = clock.now_ns
    clock.oversleep_ns = pacer.period_ns // 3
    for index in range(100):
        number, captured_ns = due(pacer, clock)
        assert number == index
        assert captured_ns == began_ns + index * pacer.period_ns
        assert captured_ns <= clock.now_ns
    assert pacer.lost == 0


def test_a_consumer_that_is_slow_but_keeps_up_loses_nothing(clock: StandingClock) -> None:
    pacer = Pacer(fps=100)
    for index in range(50):
        assert due(pacer, clock)[0] == index
        clock.now_ns += 9 * MS
    assert pacer.lost == 0


def test_a_consumer_that_was_held_up_for_less_than_a_period_catches_up(
    clock: StandingClock,
) -> None:
    pacer = Pacer(fps=100)
    began_ns = clock.now_ns
    due(pacer, clock)
    clock.now_ns += 19 * MS
    assert due(pacer, clock) == (1, began_ns + 10 * MS)  # due 9 ms ago: that is its latency
    assert due(pacer, clock) == (2, began_ns + 20 * MS)
    assert pacer.lost == 0


def test_a_stall_of_several_periods_loses_what_fell_due_in_it_but_for_the_last(
    clock: StandingClock,
) -> None:
    pacer = Pacer(fps=100)
    began_ns = clock.now_ns
    due(pacer, clock)
    clock.now_ns += 57 * MS
    assert due(pacer, clock) == (5, began_ns + 50 * MS)
    assert pacer.lost == 4
    assert due(pacer, clock) == (6, began_ns + 60 * MS)
    assert pacer.lost == 4


def test_frames_lost_while_it_slept_itself_are_counted_at_the_next_frame(
    clock: StandingClock,
) -> None:
    pacer = Pacer(fps=100)
    due(pacer, clock)
    clock.oversleep_ns = 35 * MS  # the machine stood still while this one was waited for
    assert due(pacer, clock)[0] == 1
    clock.oversleep_ns = 0
    assert due(pacer, clock)[0] == 4
    assert pacer.lost == 2


@settings(deadline=None)
@given(
    fps=st.sampled_from([0.1, 3, 29.97, 30, 1000, 10_000]),
    pauses=st.lists(st.floats(0, 20), max_size=30),
    oversleep=st.floats(0, 5),
)
def test_every_frame_that_was_due_was_either_taken_or_lost(
    fps: float, pauses: list[float], oversleep: float
) -> None:
    clock = StandingClock()
    with pytest.MonkeyPatch.context() as patch:
        clock.use(patch)
        pacer = Pacer(fps)
        clock.oversleep_ns = round(oversleep * pacer.period_ns)
        began_ns = clock.now_ns
        numbers = [due(pacer, clock)[0]]
        for pause in pauses:
            clock.now_ns += round(pause * pacer.period_ns)
            number, captured_ns = due(pacer, clock)
            assert captured_ns == began_ns + number * pacer.period_ns <= clock.now_ns
            gap = number - numbers[-1] - 1
            assert gap >= 0
            numbers.append(number)
            assert len(numbers) + pacer.lost == number + 1


def test_stop_ends_a_long_wait_at_the_moment_it_is_set(clock: StandingClock) -> None:
    pacer = Pacer(fps=0.01)
    due(pacer, clock)
    clock.stop_at_ns = clock.now_ns + 3 * MS
    assert pacer.next(clock) is None
    assert clock.now_ns == clock.stop_at_ns


def test_a_wait_that_was_stopped_counts_nothing(clock: StandingClock) -> None:
    pacer = Pacer(fps=0.01)
    due(pacer, clock)
    clock.stop_at_ns = clock.now_ns + 3 * MS
    pacer.next(clock)
    clock.stop_at_ns = None
    clock.clear()
    assert due(pacer, clock)[0] == 1
    assert pacer.lost == 0


def test_a_real_event_ends_a_real_wait() -> None:
    pacer, stop = Pacer(fps=0.001), threading.Event()
    pacer.next(stop)
    answers: list[tuple[int, int] | None] = []
    waiter = threading.Thread(target=lambda: answers.append(pacer.next(stop)), daemon=True)
    waiter.start()
    stop.set()
    waiter.join(LONG_S)
    assert answers == [None]


def test_on_the_real_clock_no_frame_comes_before_it_is_due() -> None:
    pacer, stop = Pacer(fps=500), threading.Event()
    numbers = []
    for _ in range(20):
        frame = pacer.next(stop)
        assert frame is not None
        assert frame[1] <= time.monotonic_ns()
        numbers.append(frame[0])
    assert numbers == sorted(set(numbers))
    assert len(numbers) + pacer.lost == numbers[-1] + 1
