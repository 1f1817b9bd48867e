"""The rules of an update, for whatever may be seen: they never promote what breaks a limit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge.config.canary import Canary
from edge.supervisor.updates.policy import (
    Beside,
    Missed,
    Verdict,
    is_crash_loop,
    of_probation,
    of_shadow,
)

shares = st.floats(0, 1)
limits = st.builds(
    Canary,
    frames=st.integers(0, 300),
    within_s=st.floats(1, 1000),
    min_agreement=shares,
    max_latency_ratio=st.floats(0.1, 10),
    max_errors=st.integers(0, 20),
    probation_s=st.floats(0, 1000),
    max_missed=shares,
)
seconds = st.floats(0, 2000)


@st.composite
def besides(draw: st.DrawFn) -> Beside:
    frames = draw(st.integers(0, 400))
    return Beside(
        frames=frames,
        agreed=draw(st.integers(0, frames)),
        failed=draw(st.integers(0, 30)),
        inference_ms=draw(st.none() | st.floats(0.01, 200)),
        serving_inference_ms=draw(st.none() | st.floats(0.01, 200)),
    )


DEADLINE_MS = 100.0


def shadow(canary: Canary, seen: Beside, s: float) -> Verdict:
    return of_shadow(canary, seen, seconds=s, deadline_ms=DEADLINE_MS)


def is_slower(canary: Canary, seen: Beside) -> bool:
    if seen.inference_ms is None or seen.serving_inference_ms is None:
        return False
    ratio = seen.inference_ms / seen.serving_inference_ms
    matters = seen.inference_ms - seen.serving_inference_ms > DEADLINE_MS / 100
    return ratio > canary.max_latency_ratio and matters


@st.composite
def misses(draw: st.DrawFn) -> Missed:
    frames = draw(st.integers(0, 400))
    return Missed(frames, draw(st.integers(0, frames)))


@given(limits, besides(), seconds)
def test_only_what_keeps_every_limit_is_promoted(canary: Canary, seen: Beside, s: float) -> None:
    kept = (
        seen.frames >= canary.frames
        and (seen.agreement is None or seen.agreement >= canary.min_agreement)
        and seen.failed <= canary.max_errors
        and not is_slower(canary, seen)
    )
    assert (shadow(canary, seen, s).what == "on") == kept


@given(limits, besides(), seconds, st.integers(0, 400))
def test_who_is_given_up_early_could_not_have_been_promoted(
    canary: Canary, seen: Beside, s: float, more: int
) -> None:
    if shadow(canary, seen, min(s, canary.within_s)).what == "back":
        best = Beside(
            min(max(seen.frames, canary.frames), seen.frames + more),
            min(max(seen.frames, canary.frames), seen.frames + more) - seen.frames + seen.agreed,
            seen.failed,
            inference_ms=seen.inference_ms,
            serving_inference_ms=seen.serving_inference_ms,
        )
        assert shadow(canary, best, 0).what != "on"


@given(limits, besides(), seconds)
def test_a_model_in_the_shadow_comes_to_an_end(canary: Canary, seen: Beside, s: float) -> None:
    if s > canary.within_s:
        assert shadow(canary, seen, s).what != "wait"


@given(limits, besides(), seconds)
def test_one_frame_more_of_one_mind_never_makes_it_worse(
    canary: Canary, seen: Beside, s: float
) -> None:
    better = replace(seen, agreed=min(seen.agreed + 1, seen.frames))
    order = ("back", "wait", "on")
    now, then = shadow(canary, seen, s).what, shadow(canary, better, s).what
    assert order.index(then) >= order.index(now)


@given(limits, misses(), misses(), besides(), seconds)
def test_good_is_only_who_stood_the_time_and_misses_no_more_than_before(
    canary: Canary, before: Missed, now: Missed, beside: Beside, s: float
) -> None:
    verdict = of_probation(canary, before=before, now=now, beside=beside, seconds=s)
    if verdict.what == "on":
        assert s >= canary.probation_s
        assert now.frames >= canary.frames
        assert now.share <= before.share + canary.max_missed + 1e-9
    if verdict.what == "back":
        assert verdict.why
        assert now.missed or beside.agreed < beside.frames


@given(limits, misses(), misses(), besides(), seconds)
def test_a_miss_more_never_makes_it_better(
    canary: Canary, before: Missed, now: Missed, beside: Beside, s: float
) -> None:
    worse = Missed(now.frames + 1, now.missed + 1)
    one = of_probation(canary, before=before, now=now, beside=beside, seconds=s)
    other = of_probation(canary, before=before, now=worse, beside=beside, seconds=s)
    if one.what == "back" and canary.frames >= worse.frames:
        assert other.what == "back"


@given(limits, misses(), seconds)
def test_who_misses_no_deadline_and_says_the_same_is_never_taken_back(
    canary: Canary, before: Missed, s: float
) -> None:
    same = Beside(frames=50, agreed=50)
    verdict = of_probation(canary, before=before, now=Missed(1000, 0), beside=same, seconds=s)
    assert verdict.what == ("on" if s >= canary.probation_s else "wait")


def test_a_few_misses_right_after_the_swap_are_chance() -> None:
    canary = Canary(frames=200, max_missed=0.02)
    now = {"before": Missed(1000, 0), "beside": Beside(), "seconds": 1.0}
    assert of_probation(canary, now=Missed(10, 4), **now).what == "wait"  # type: ignore[arg-type]
    back = of_probation(canary, now=Missed(10, 5), **now)  # type: ignore[arg-type]
    assert back.why == (
        "5 of 10 frames missed the deadline, 0 of 1000 before it (`max_missed: 0.02`)"
    )


def test_ninety_of_a_hundred_is_nine_tenths() -> None:
    canary = Canary(frames=100, min_agreement=0.9)
    assert shadow(canary, Beside(100, 90), 1).what == "on"
    assert shadow(canary, Beside(100, 89), 1).what == "back"
    # Eleven that differ cannot be mended by the frames to come; ten can.
    assert shadow(canary, Beside(11, 0), 1).what == "back"
    assert shadow(canary, Beside(10, 0), 1).what == "wait"


def test_the_third_start_is_the_last() -> None:
    assert [is_crash_loop(Canary(), starts) for starts in range(5)] == [False] * 3 + [True] * 2


def test_ten_microseconds_are_no_reason() -> None:
    canary = Canary(frames=10, max_latency_ratio=1.5)
    assert (
        shadow(canary, Beside(10, 10, 0, inference_ms=0.9, serving_inference_ms=0.3), 1).what
        == "on"
    )
    back = shadow(canary, Beside(10, 10, 0, inference_ms=9, serving_inference_ms=3), 1)
    assert back.why == (
        "its forward pass takes 9 ms, 3.00 times as long as that of the model that serves "
        "(`max_latency_ratio: 1.5`)"
    )
