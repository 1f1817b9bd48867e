"""A paced frame's capture time is the moment it was due; what was never taken is counted once."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standing_clock import StandingClock

from edge.latency.stalls import Period
from edge.sources.pacing import Pacer, Rhythm

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


def learnt(stamps_ns: list[int], delays_ns: list[int]) -> Rhythm:
    period = Period()
    rhythm = Rhythm(period)
    for captured_ns, delay_ns in zip(stamps_ns, delays_ns, strict=True):
        period.take(captured_ns)
        rhythm.take(captured_ns, arrived_ns=captured_ns + delay_ns)
    return rhythm


def test_a_frame_is_foretold_a_period_after_the_last_and_the_least_delay_later() -> None:
    stamps = [7 * MS + 33 * MS * n for n in range(20)]
    delays = [5 * MS + (n % 3) * MS for n in range(20)]
    assert learnt(stamps, delays).due_ns == stamps[-1] + (33 + 5) * MS


def test_a_frame_that_was_fetched_late_does_not_put_off_the_next() -> None:
    stamps = [33 * MS * n for n in range(20)]
    assert learnt(stamps, [5 * MS] * 19 + [400 * MS]).due_ns == stamps[-1] + (33 + 5) * MS


@pytest.mark.parametrize("frames", [0, 1, 15])
def test_a_rhythm_is_not_known_from_a_few_frames(frames: int) -> None:
    assert learnt([33 * MS * n for n in range(frames)], [0] * frames).due_ns is None


def test_frames_that_come_in_pairs_have_no_rhythm() -> None:
    stamps = [66 * MS * (n // 2) + 2 * MS * (n % 2) for n in range(40)]
    assert learnt(stamps, [0] * 40).due_ns is None


def test_now_and_then_a_lost_frame_does_not_spoil_the_rhythm() -> None:
    stamps = [33 * MS * n for n in range(48) if n % 6]
    assert learnt(stamps, [0] * len(stamps)).due_ns == stamps[-1] + 33 * MS


def test_a_new_pace_is_learnt_and_the_old_one_forgotten() -> None:
    period = Period()
    rhythm = Rhythm(period)
    at = 0
    foretold = []
    for interval_ns in [33 * MS] * 40 + [66 * MS] * 40:
        at += interval_ns
        period.take(at)
        rhythm.take(at, arrived_ns=at)
        foretold.append(rhythm.due_ns)
    assert foretold[39] == at - 40 * 66 * MS + 33 * MS
    assert None in foretold[40:]  # where one is as frequent as the other
    assert foretold[-1] == at + 66 * MS


def test_a_source_opened_anew_has_to_show_its_rhythm_again() -> None:
    stamps = [33 * MS * n for n in range(20)]
    rhythm = learnt(stamps, [9 * MS] * 20)
    rhythm.restart()
    rhythm._period.restart()
    assert rhythm.due_ns is None
