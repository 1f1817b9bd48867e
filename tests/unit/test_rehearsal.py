"""The last frame goes its way again before the next is due, where that is cheap."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edge.config.pipeline import Pipeline
from edge.worker.prepare import Prepared, prepare
from edge.worker.rehearsal import Rehearsal

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "digits.tflite"
MS = 1_000_000
A_FRAME = np.full((8, 8, 3), 200, np.uint8)


def a_pipeline(model: Path = DIGITS, **fields: Any) -> Pipeline:
    source = {"type": "synthetic", "fps": fields.pop("fps", 30)}
    return Pipeline.model_validate({"source": source, "model": {"path": model}, **fields})


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(a_pipeline())


class Counted:
    """The real engine, and when it ran."""

    def __init__(self, prepared: Prepared) -> None:
        self._run = prepared.engine.run
        self.ran_ns: list[int] = []

    def run(self, tensor: Any) -> Any:
        self.ran_ns.append(time.monotonic_ns())
        return self._run(tensor)


def rehearse(
    prepared: Prepared,
    pipeline: Pipeline,
    *,
    due_in_ms: float | None = 20,
    alone: bool = True,
    **fields: Any,
) -> tuple[Counted, Any, int]:
    """One rehearsal; return the engine, the tensor that was written, and when it was due."""
    engine = Counted(prepared)
    (source,) = pipeline.all_sources.values()
    way = dataclasses.replace(prepared, options=pipeline, engine=cast("Any", engine), **fields)
    rehearsal = Rehearsal(source, way, alone=alone)
    rehearsal.frame = A_FRAME
    tensor = prepared.preprocess.buffer()
    due_ns = time.monotonic_ns() + round((due_in_ms or 0) * MS)
    rehearsal.before(None if due_in_ms is None else due_ns, tensor, threading.Event())
    return engine, tensor, due_ns


def test_a_cheap_way_is_rehearsed_whole_shortly_before_the_frame(digits: Prepared) -> None:
    engine, tensor, due_ns = rehearse(digits, a_pipeline(), due_in_ms=200, warm_ns=MS)
    assert len(engine.ran_ns) == 1
    assert due_ns - 100 * MS < engine.ran_ns[0]
    assert tensor.any()  # prepared as well


def test_a_dear_way_is_not_rehearsed(digits: Prepared) -> None:
    engine, tensor, _ = rehearse(digits, a_pipeline(), warm_ns=10 * MS)  # of 33
    assert engine.ran_ns == []
    assert (tensor == digits.preprocess.buffer()).all()


def test_always_is_always(digits: Prepared) -> None:
    pipeline = a_pipeline(rehearse="always")
    engine, _, _ = rehearse(digits, pipeline, due_in_ms=100, warm_ns=20 * MS)
    assert len(engine.ran_ns) == 1


def test_a_model_that_keeps_state_never_sees_a_rehearsal(digits: Prepared) -> None:
    pipeline = a_pipeline(rehearse="always")
    engine, _, _ = rehearse(digits, pipeline, keeps_state=True)
    assert engine.ran_ns == []


def test_nothing_is_rehearsed_where_a_cache_may_answer(digits: Prepared) -> None:
    pipeline = a_pipeline(rehearse="always", cache={"mode": "exact"})
    assert prepare(pipeline).cache is not None
    engine, _, _ = rehearse(digits, pipeline, cache=prepare(pipeline).cache)
    assert engine.ran_ns == []


@pytest.mark.parametrize(
    ("pipeline", "due_in_ms"),
    [
        (a_pipeline(rehearse="never"), 20),
        (a_pipeline(fps=None), 20),  # a pulled source waits for us
        (a_pipeline(), None),  # nobody knows when the next frame comes
        (a_pipeline(), -1),  # it is there already
        (a_pipeline(), 0.1),  # no time is left
    ],
)
def test_where_there_is_nothing_to_gain_nothing_is_done(
    digits: Prepared, pipeline: Pipeline, due_in_ms: float | None
) -> None:
    engine, tensor, _ = rehearse(digits, pipeline, due_in_ms=due_in_ms)
    assert engine.ran_ns == []
    assert (tensor == digits.preprocess.buffer()).all()


def test_nothing_is_rehearsed_where_frames_of_other_sources_come_in_between(
    digits: Prepared,
) -> None:
    engine, _, _ = rehearse(digits, a_pipeline(rehearse="always"), alone=False)
    assert engine.ran_ns == []


def test_the_models_own_word_decides_whether_it_keeps_state(testdata: Path) -> None:
    nabu = a_pipeline(testdata / "models" / "okay_nabu.tflite", decode={"type": "raw"})
    assert prepare(nabu).keeps_state
    assert not prepare(a_pipeline()).keeps_state
