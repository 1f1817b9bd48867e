"""The parts of the fault injection that can be told apart: the plan, the ledger, what is absurd."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fault_injection.ledger import Ledger, Stream
from fault_injection.plan import KINDS, NAMES, STEPS, STRIKES, STRIKING, Fault, plan
from fault_injection.sanity import Clock


def faults(seed: int, count: int) -> list[Fault]:
    return [fault for step in plan(seed, count) for fault in step.faults]


def test_a_seed_names_the_faults_and_fewer_of_them_are_the_first() -> None:
    assert faults(5, 300) == faults(5, 300)
    assert faults(5, 300)[:100] == faults(5, 100)
    assert faults(5, 100) != faults(6, 100)
    assert [fault.number for fault in faults(5, 100)] == list(range(1, 101))


def test_each_kind_comes_once_before_any_comes_twice() -> None:
    for seed in range(20):
        first = [fault.kind for fault in faults(seed, len(KINDS))]
        assert sorted(first) == sorted(NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_struck_too_often_and_two_at_once_touch_different_things(seed: int) -> None:
    touches = {kind.name: kind.touches for kind in KINDS}
    steps = list(plan(seed, 1000))
    struck = [
        [f.pipeline if f.kind.startswith("worker") else "" for f in s.faults if f.kind in STRIKING]
        for s in steps
    ]
    for place in range(len(steps)):
        victims = [each for some in struck[place : place + STEPS] for each in some]
        # Two at once may both be one too many; nobody is struck a fourth time.
        assert all(victims.count(one) <= STRIKES + 1 for one in victims)
    assert any(len(step.faults) == 2 for step in steps)
    for step in steps:
        assert len({touches[fault.kind] for fault in step.faults}) == len(step.faults)


def test_a_plan_of_one_kind_leaves_time_between_the_strikes() -> None:
    steps = list(plan(1, 10, ["supervisor-kill"]))
    assert sum(len(step.faults) for step in steps) == 10
    assert any(not step.faults and step.rest_s > 1 for step in steps)


def prediction(sequence: int, **changed: Any) -> bytes:
    said: dict[str, Any] = {
        "device": "d",
        "boot": "b",
        "pipeline": "steady",
        "sequence": sequence,
        "captured_at": utc(),
        "latency_ms": {"total": 3.0, "capture": 1.0, "wait": 0.0, "inference": 2.0},
        "predictions": [{"label": "3"}],
    }
    return json.dumps(said | changed).encode()


def utc(later_s: float = 0) -> str:
    moment = datetime.now(timezone.utc) + timedelta(seconds=later_s)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def heard(*payloads: bytes) -> Ledger:
    ledger = Ledger(Clock())
    for payload in payloads:
        ledger.take("edge/d/steady/predictions", payload)
    return ledger


def test_repeats_are_counted_and_gaps_are_losses() -> None:
    ledger = heard(*map(prediction, [0, 1, 2, 1, 2, 3]))
    assert (ledger.problems, ledger.repeated) == ([], 2)
    assert "numbers 1 to 2" in heard(prediction(0), prediction(3)).problems[0]
    assert "numbers 0 to 0" in heard(prediction(1)).problems[0]


def test_what_was_accepted_is_missing_until_it_arrives() -> None:
    ledger = heard(prediction(0))
    ledger.must_arrive(Stream("b", "steady"), 1)
    assert "numbers 1 to 1" in ledger.missing()[0]
    ledger.take("edge/d/steady/predictions", prediction(1))
    assert ledger.missing() == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"latency_ms": {"total": -1.0, "wait": -1.0}}, "total of -1.0 ms"),
        ({"latency_ms": {"total": 86_400_000.0, "wait": 86_400_000.0}}, "total of 86400000.0 ms"),
        ({"latency_ms": {"total": 5.0, "wait": 1.0}}, "stages that sum up to 1.0 ms"),
        ({"captured_at": utc(3600)}, "is not within this run"),
        ({"captured_at": utc(-3600)}, "is not within this run"),
        ({"predictions": []}, "no prediction"),
    ],
)
def test_absurd_results_are_found(changed: dict[str, Any], found: str) -> None:
    problems = heard(prediction(0, **changed)).problems
    assert found in problems[0]


def test_a_clock_that_jumps_makes_no_moment_absurd_that_was_true_by_it() -> None:
    ledger = Ledger(Clock())
    for shift_s in (0, 86_400, -3600):
        ledger._clock.set(shift_s)
        ledger.take("edge/d/steady/predictions", prediction(abs(shift_s), captured_at=utc(shift_s)))
    assert all("LOST" in problem for problem in ledger.problems)
    assert ledger.fresh("steady", ledger._clock.began_s - 1) is not None
