"""Which candidate of a tuning wins, and what the reason says."""

from __future__ import annotations

import pytest

from edge.engines.tuning import Tuned
from edge.errors import ModelError
from edge.lab.loop_run import Tally
from edge.lab.verdict import Candidate, Outcome, judge
from edge.latency.hdr_codec import decode
from edge.wire import Done, Late

DEADLINE_MS = 20.0


def done(total_ms: float) -> Done:
    """A frame that took so long from capture to result."""
    end_ns = round(total_ms * 1e6)
    return Done(0, 0, 0, 0, 0, end_ns, end_ns, "", None, [])


def turn(*latencies_ms: float, dropped: int = 0, cpu_s: float = 0.1) -> Tally:
    """A turn in which these frames were answered, and some dropped for their deadline."""
    tally = Tally(DEADLINE_MS, seconds=5.0, cpu_s=cpu_s)
    for latency_ms in latencies_ms:
        tally.take(done(latency_ms))
    for _ in range(dropped):
        tally.take(Late(0, 0, 0, 0, round(DEADLINE_MS * 1e6) + 1))
    return tally


def steady(ms: float, frames: int = 150, turns: int = 3) -> list[Tally]:
    """Turns in which every frame took the same time."""
    return [turn(*[ms] * frames) for _ in range(turns)]


def outcome(
    engine: str, threads: int, turns: list[Tally], *, beside: dict[str, Tally] | None = None
) -> Outcome:
    return Outcome(Candidate(engine, threads), DEADLINE_MS, turns, beside or {})


def test_the_lowest_p99_wins() -> None:
    slow, fast = outcome("a", 1, steady(9)), outcome("a", 2, steady(6))
    verdict = judge([slow, fast])
    assert verdict.chosen is fast
    assert verdict.q == 99
    assert verdict.because == "2 threads, P99 6.001 ms against 9.003 with a, 1 thread"


def test_p99_decides_and_not_the_median() -> None:
    calm = outcome("a", 1, steady(6))
    jumpy = outcome("b", 1, [turn(*[3.0] * 140, *[15.0] * 10) for _ in range(3)])
    assert judge([jumpy, calm]).chosen is calm


def test_within_the_noise_fewer_threads_win_and_then_less_work() -> None:
    noisy = [turn(*[ms] * 150) for ms in (5.0, 5.2, 7.0)]
    two = outcome("a", 2, noisy)
    one = outcome("a", 1, [turn(*[ms] * 150, cpu_s=0.3) for ms in (6.8, 5.9, 7.1)])
    cheap = outcome("b", 1, [turn(*[ms] * 150, cpu_s=0.2) for ms in (6.9, 6.5, 7.2)])
    verdict = judge([two, one, cheap])
    assert verdict.chosen is cheap
    assert verdict.because == "1 thread, P99 7.201 ms, within the noise of 7.000 with a, 2 threads"


def test_a_clear_lead_is_no_noise() -> None:
    two = outcome("a", 2, [turn(*[ms] * 150) for ms in (5.0, 5.1, 5.2)])
    one = outcome("a", 1, [turn(*[ms] * 150) for ms in (6.0, 6.1, 6.2)])
    assert judge([one, two]).chosen is two


def test_a_candidate_that_drops_its_slow_frames_is_not_taken_for_fast() -> None:
    honest = outcome("a", 1, steady(12))
    dropping = outcome("b", 1, [turn(*[2.0] * 100, dropped=50) for _ in range(3)])
    assert not dropping.holds
    assert judge([dropping, honest]).chosen is honest


def test_what_holds_the_deadline_comes_first_though_its_p99_be_bought_with_others_misses() -> None:
    late = turn(*[3.0] * 90, *[30.0] * 10)
    greedy = outcome("a", 4, steady(4), beside={"door": late})
    modest = outcome("a", 1, steady(8), beside={"door": turn(*[3.0] * 100)})
    verdict = judge([greedy, modest])
    assert verdict.chosen is modest
    assert greedy.late_beside == ["door"]
    assert "late beside" in judge([greedy]).because


def test_none_holds_the_deadline_is_said_plainly_and_the_least_bad_is_taken() -> None:
    bad = outcome("a", 1, steady(50))
    half = outcome("a", 2, [turn(*[10.0] * 75, *[30.0] * 75) for _ in range(3)])
    verdict = judge([bad, half])
    assert verdict.chosen is half
    assert not verdict.chosen.holds
    assert "; none holds the deadline of 20 ms, 50.0% of its frames miss it" in verdict.because


def test_one_stray_frame_refutes_no_small_sample() -> None:
    assert turn(*[5.0] * 30, 25.0).holds
    assert not turn(*[5.0] * 30, 25.0, 25.0).holds
    assert not turn(25.0, dropped=1).holds
    assert not turn(*[5.0] * 198, 25.0, 25.0, 25.0).holds


def test_that_another_would_hold_the_deadline_is_not_denied() -> None:
    greedy = outcome("a", 4, steady(4), beside={"x" * 600: turn(*[30.0] * 100)})
    modest = outcome("a", 1, steady(50), beside={"x": turn(*[3.0] * 100)})
    because = judge([greedy, modest]).because
    assert because.endswith("; 100.0% of its frames miss the deadline of 20 ms")
    assert judge([greedy]).because.endswith("x..."), "a reason has an end"
    assert len(judge([greedy]).because) == 500


def test_where_all_are_hopeless_the_lowest_p99_is_the_least_bad() -> None:
    worse, bad = outcome("a", 1, steady(90)), outcome("a", 2, steady(50))
    assert judge([worse, bad]).chosen is bad


@pytest.mark.parametrize(
    ("frames", "q", "named"),
    [(34, 99, "P99"), (33, 95, "P95"), (5, 90, "P90"), (1, 50, "P50")],
)
def test_too_few_frames_for_a_p99_are_decided_by_what_they_support(
    frames: int, q: float, named: str
) -> None:
    verdict = judge([outcome("a", 1, steady(9, frames)), outcome("a", 2, steady(6, frames))])
    assert verdict.q == q
    assert verdict.because.startswith(f"2 threads, {named} 6.001 ms")


def test_one_frame_is_decided_by_itself() -> None:
    verdict = judge([outcome("a", 1, [turn(9)]), outcome("a", 2, [turn(6)])])
    assert verdict.q is None
    assert verdict.because == "2 threads, maximum 6.001 ms against 9.003 with a, 1 thread"


def test_a_hopeless_candidate_does_not_spoil_the_percentile_of_the_others() -> None:
    hopeless = outcome("b", 1, [turn(*[300.0] * 10) for _ in range(3)])
    verdict = judge([outcome("a", 1, steady(9)), hopeless, outcome("a", 2, steady(6))])
    assert verdict.q == 99
    assert verdict.chosen.candidate == Candidate("a", 2)
    rare = outcome("b", 1, [turn(*[1.0] * 10) for _ in range(3)])
    assert judge([outcome("a", 1, steady(9)), rare]).q == 99


def test_what_cannot_be_run_is_left_out() -> None:
    broken = Outcome(Candidate("b", 1), DEADLINE_MS, failed="it cannot be loaded")
    only = outcome("a", 1, steady(9))
    verdict = judge([broken, only])
    assert verdict.chosen is only
    assert verdict.because == "1 thread, P99 9.003 ms, no other candidate"
    assert broken.evidence(99)["failed"] == "it cannot be loaded"
    with pytest.raises(ModelError, match="b, 1 thread: it cannot be loaded"):
        judge([broken])


def test_no_answer_at_all_never_holds_and_never_wins() -> None:
    nothing = outcome("b", 1, [turn(), turn()])
    assert not nothing.holds
    assert judge([nothing, outcome("a", 1, steady(90))]).chosen.candidate.engine == "a"
    assert judge([nothing]).chosen is nothing


def test_frames_lost_at_the_source_are_missed_and_those_replaced_in_the_mailbox_are_not() -> None:
    tally = turn(*[5.0] * 100)
    tally.dropped["mailbox"] = 200
    assert tally.miss_share == 0
    tally.dropped["source"] = 100
    assert tally.miss_share == 0.5


def test_turns_add_up() -> None:
    total = outcome("a", 1, [turn(5, 30, dropped=2), turn(7, cpu_s=0.4)]).total
    assert (total.seconds, total.cpu_s) == (10.0, 0.5)
    assert (total.answered, total.late, total.missed) == (3, 1, 3)
    assert total.latency.count == 5, "what was dropped has its age"
    assert total.stages["inference"].count == 3


def test_the_rate_is_told_by_the_time_between_answers_within_a_turn() -> None:
    total = Tally.of([turn(5, 15, 25), turn(100, 120)])
    assert total.intervals == 3
    assert total.fps == pytest.approx(3 / 0.040)
    assert turn(5).fps == 0


def test_the_evidence_fits_the_file() -> None:
    verdict = judge([outcome("a", 1, steady(9)), outcome("a", 2, [turn(1)])])
    evidence = [verdict.chosen.evidence(verdict.q)]
    tuned = Tuned(
        engine="a",
        threads=1,
        because=verdict.because,
        holds_deadline=True,
        digest="",
        engines={},
        evidence={"candidates": evidence},
    )
    assert Tuned.model_validate_json(tuned.model_dump_json()) == tuned
    assert evidence[0]["deciding_ms"] == pytest.approx(9, rel=0.002)
    assert decode(evidence[0]["hdr_ns"]) == verdict.chosen.total.latency
