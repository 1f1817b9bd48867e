"""Why a frame missed its deadline: a sentence that says what the evidence shows, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge.latency.explain import Evidence, explain, ms

USUAL = {"capture": 1.0, "preprocess": 1.0, "wait": 0.0, "inference": 12.0, "decode": 1.0}
SLOW = {**USUAL, "inference": 31.0}
MISS = Evidence(frame=8123, deadline_ms=20, stages_ms=SLOW, usual_ms=USUAL)
HEAD = "frame 8123 missed by 14 ms: inference 31 ms against its usual 12 ms"


@pytest.mark.parametrize(
    ("evidence", "clause", "cause"),
    [
        (
            {"throttled": ("frequency capped",), "clock_mhz": 600},
            "the CPU was throttled to 600 MHz (frequency capped)",
            "throttled",
        ),
        ({"throttled": ("throttled",)}, "the CPU was throttled (throttled)", "throttled"),
        (
            {"clock_mhz": 600, "usual_clock_mhz": 1500},
            "the CPU ran at 600 MHz, usually at 1500",
            "low_clock",
        ),
        (
            {"waited_ms": 18.0},
            "its threads waited 18 ms for a core that others had",
            "other_processes",
        ),
        ({"shadow_ms": 9.0}, "the model in shadow had the engine for 9 ms of it", "shadow"),
        ({"collected_ms": 9.0}, "Python's garbage collection took 9 ms", "garbage_collection"),
        (
            {"major_faults": 3, "counted_ms": 40.0},
            "3 pages had to be read from the disk in the 40 ms around it",
            "disk",
        ),
        ({"major_faults": 1}, "1 page had to be read from the disk", "disk"),
    ],
)
def test_a_cause_that_the_evidence_shows_is_told(
    evidence: dict[str, Any], clause: str, cause: str
) -> None:
    explained = explain(replace(MISS, **evidence))
    assert explained.sentence == f"{HEAD}; {clause}"
    assert explained.causes == [cause]
    assert explained.stage == "inference"


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"waited_ms": 1.0},  # of 19 ms over the usual
        {"collected_ms": 0.5},
        {"shadow_ms": 0.5},
        {"clock_mhz": 1400, "usual_clock_mhz": 1500},
        {"clock_mhz": 600, "usual_clock_mhz": 600},
        {"ahead_ms": {"garden": 30.0}},  # it did not wait for the model
        {"major_faults": 0, "waited_ms": 0.0},
    ],
)
def test_what_does_not_explain_it_is_not_told(evidence: dict[str, Any]) -> None:
    explained = explain(replace(MISS, **evidence))
    assert explained.sentence == f"{HEAD}; nothing that was recorded explains it"
    assert explained.causes == []


def test_no_more_waiting_is_told_than_made_it_late() -> None:
    assert "waited 19 ms" in explain(replace(MISS, waited_ms=100.0)).sentence


def test_several_causes_stand_side_by_side() -> None:
    both = replace(MISS, throttled=("throttled",), waited_ms=10.0)
    assert explain(both).causes == ["throttled", "other_processes"]


def test_a_model_that_is_slower_than_its_deadline_is_said_to_be() -> None:
    explained = explain(replace(MISS, usual_ms={**USUAL, "inference": 30.0}))
    assert explained.causes == ["slow_model"]
    assert "a frame usually takes 33 ms here, more than the deadline's 20 ms" in explained.sentence


def test_a_model_that_others_always_hold_up_is_not_called_slow() -> None:
    crowded = replace(MISS, usual_ms={**USUAL, "inference": 24.0}, usual_waited_ms=8.0)
    explained = explain(replace(crowded, waited_ms=7.0))
    assert explained.causes == ["other_processes"]
    assert explained.sentence.endswith(
        "a frame usually takes 27 ms here, up to 8 ms of it waiting for a core"
    )
    still_slow = replace(crowded, usual_waited_ms=2.0)
    assert explain(still_slow).causes == ["slow_model"]


def test_a_queue_behind_other_sources_is_blamed_where_it_waited() -> None:
    waited = replace(
        MISS, stages_ms={**USUAL, "wait": 20.0}, ahead_ms={"garden": 12.0, "frame 8122": 8.0}
    )
    explained = explain(waited)
    assert explained.stage == "wait"
    assert explained.causes == ["queue"]
    assert "the model was busy 12 ms with garden and 8 ms with frame 8122" in explained.sentence


def test_a_late_camera_is_blamed_unless_the_thread_that_reads_it_had_no_core() -> None:
    late = replace(MISS, stages_ms={**USUAL, "capture": 40.0})
    assert explain(late).causes == ["late_source"]
    assert explain(replace(late, waited_ms=39.0)).causes == ["other_processes"]


def test_a_frame_dropped_unrun_and_without_a_usual_time_is_told() -> None:
    dropped = Evidence(
        frame=3, deadline_ms=5, stages_ms={"capture": 1, "wait": 9, "preprocess": 1}, dropped=True
    )
    assert explain(dropped).sentence == "frame 3 missed by 6 ms and was dropped unrun: wait 9 ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [(31, "31 ms"), (0.042, "0.04 ms"), (9.994, "9.99 ms"), (12.34, "12.3 ms"), (1234.5, "1234 ms"),
     (10, "10 ms"), (0, "0 ms"), (100.4, "100 ms")],
)  # fmt: skip
def test_milliseconds_are_said_in_three_digits(value: float, text: str) -> None:
    assert ms(value) == text
