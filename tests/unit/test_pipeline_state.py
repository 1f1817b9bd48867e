"""When a pipeline's state is told, and what it says then."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from edge.config.device import Device
from edge.states import Top
from edge.supervisor.pipeline_state import Figures, PipelineState

CAT: list[dict[str, Any]] = [{"label": "cat", "index": 1, "score": 0.9}]
DOG: list[dict[str, Any]] = [{"label": "dog", "index": 2, "score": 0.8}]
BOTH = [*CAT, {"label": "dog", "index": 2, "score": 0.3}]


def state(*sources: str, fps: float = 30, every: int = 1) -> PipelineState:
    pipeline = {
        "sources": {name: {"type": "synthetic", "fps": fps} for name in sources or ("door",)},
        "model": {"path": "x"},
        "every": every,
    }
    watched = [{"pipeline": "p", "label": "dog", "min_score": 0.5, "off_delay_s": 10}]
    options = {"enabled": True, "min_interval_s": 1, "interval_s": 30, "occupancy": watched}
    device = Device.model_validate({"home_assistant": options, "pipelines": {"p": pipeline}})
    home = device.home_assistant
    return PipelineState(device.pipelines["p"], home, home.occupancy)


def test_a_new_label_is_told_at_once_but_not_more_often_than_wanted() -> None:
    told = state()
    assert told.due_s("running", now_s=100) <= 100
    told.told("running", now_s=100)
    assert told.due_s("running", now_s=100) == 130
    told.answered("door", CAT, now_s=100.2)
    assert told.due_s("running", now_s=100.2) == 101
    told.answered("door", CAT, now_s=150)
    assert told.due_s("running", now_s=150) <= 150
    told.told("running", now_s=150)
    told.answered("door", [{"label": "cat", "index": 1, "score": 0.7}], now_s=150.1)
    assert told.due_s("running", now_s=150.1) > 151  # only the score is another


def test_at_thirty_frames_a_second_the_minimum_holds() -> None:
    told, said = state(), []
    for frame in range(300):
        now_s = frame / 30
        told.answered("door", CAT if frame % 2 else DOG, now_s=now_s)
        if told.due_s("running", now_s=now_s) <= now_s:
            told.told("running", now_s=now_s)
            said.append(now_s)
    assert 9 <= len(said) <= 11
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(said))


def test_the_regular_state_keeps_the_minimum_too() -> None:
    told = state()
    told.told("running", now_s=0)
    told.answered("door", CAT, now_s=29.8)
    told.told("running", now_s=29.8)
    assert told.due_s("running", now_s=29.8) == pytest.approx(30.8)


def test_another_state_of_the_pipeline_is_told_as_a_new_label_is() -> None:
    told = state()
    told.told("starting", now_s=0)
    assert told.due_s("running", now_s=5) == 1
    told.told("running", now_s=5)
    assert told.due_s("running", now_s=5) == 30


def test_a_label_is_occupied_until_it_was_not_seen_for_its_delay() -> None:
    told = state("gate", "yard")
    told.answered("gate", BOTH, now_s=0)
    assert told.occupied(0) == {"dog": False}  # its score is too low
    told.answered("gate", DOG, now_s=1)
    told.answered("yard", CAT, now_s=2)
    told.told("running", now_s=2)
    assert told.occupied(10.9) == {"dog": True}
    assert told.due_s("running", now_s=2) == 11
    told.answered("yard", DOG, now_s=9)
    assert told.occupied(18.9) == {"dog": True}
    assert told.occupied(19) == {"dog": False}
    assert told.due_s("running", now_s=19) == 3  # long due


def test_a_label_does_not_outlast_a_source_that_fell_silent() -> None:
    told = state("gate", "yard")
    told.answered("gate", CAT, now_s=0)
    told.answered("yard", [], now_s=20)
    assert told.tops(29.9) == {
        "gate": Top(label="cat", score=0.9),
        "yard": Top(label=None, score=None),
    }
    assert told.tops(30)["gate"] == Top(label=None, score=None)


def test_the_label_of_a_slow_source_lasts_for_three_of_its_frames() -> None:
    told = state(fps=0.1, every=2)
    told.answered("door", CAT, now_s=0)
    assert told.tops(59.9)["door"].label == "cat"
    assert told.tops(60)["door"].label is None


def test_figures_change_only_with_the_regular_state() -> None:
    told = state()
    told.told("running", now_s=0)
    measured = Figures(p99_ms=4.5, fps=30, deadline_misses_total=2)
    told.measured(measured)
    told.answered("door", CAT, now_s=5)
    told.told("running", now_s=5)
    assert told.figures == Figures()
    told.told("running", now_s=30)
    assert told.figures == measured


def test_a_raw_result_has_no_label_and_a_long_label_is_cut_where_home_assistant_ends() -> None:
    told = state()
    told.answered("door", [{"output": "scores", "shape": [1], "values": [1]}], now_s=0)
    assert told.tops(0)["door"] == Top(label=None, score=None)
    told.answered("door", [{"label": "x" * 300, "score": 1}], now_s=0)
    assert told.tops(0)["door"].label == "x" * 255


@pytest.mark.parametrize(("fps", "same"), [(30, True), (10, False)])
def test_it_knows_whether_it_is_about_the_same(fps: float, same: bool) -> None:
    assert state().is_about_the_same(state(fps=fps)) is same
