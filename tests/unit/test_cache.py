"""What is reused, for how long, and what must not be: the cache alone, then in the loop."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import pytest
from asker import Asker, a_pipeline

from edge.config.cache import Cache
from edge.engines.model_file import read_model_file
from edge.errors import CacheError
from edge.wire import Done
from edge.worker.cache import ExactCache, result_cache
from edge.worker.inference import InferenceSide
from edge.worker.mailbox import Mailbox, Slot
from edge.worker.prepare import Prepared, prepare
from edge.worker.schedule import NEVER_NS, Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.engines.engine import Engine
    from edge.wire import Record

MS = 1_000_000
START_NS = 42_000 * MS
DIGITS = Path(__file__).parents[2] / "models" / "digits"
SHEET = cv2.imread(str(DIGITS / "held-out.png"))


def digit(number: int) -> NDArray[Any]:
    """A held-out digit by its place in the sheet's first row, uint8 [8, 8, 3]."""
    assert SHEET is not None
    return np.ascontiguousarray(SHEET[:8, number * 8 : number * 8 + 8])


def prepared(**cache: Any) -> Prepared:
    return prepare(a_pipeline(DIGITS / "digits.tflite", **cache))


A, B, C, D = (np.full((1, 8, 8, 1), value, np.int8) for value in (-128, -30, 40, 127))
MODES = ["exact", "similar"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Both modes alike.


def test_an_input_seen_before_is_answered_with_its_result(mode: str) -> None:
    ask = Asker(prepared(mode=mode).cache)
    assert [ask(A), ask(B), ask(A), ask(B), ask(C)] == [0, 1, 0, 1, 4]
    assert ask.ran == [0, 1, 4]


def test_the_buffer_asked_with_may_be_written_again(mode: str) -> None:
    ask = Asker(prepared(mode=mode).cache)
    buffer = A.copy()
    ask(buffer)
    buffer[:] = B
    assert ask(buffer) == 1
    buffer[:] = A
    assert ask(buffer) == 0


def test_a_result_is_as_old_as_the_frame_it_was_made_of_and_no_hit_renews_it(mode: str) -> None:
    ask = Asker(prepared(mode=mode, max_age_ms=100).cache)
    assert [ask(A, at_ms) for at_ms in (0, 60, 100)] == [0, 0, 0]
    assert ask(A, 100.001) == 3
    assert [ask(A, at_ms) for at_ms in (160, 200.001)] == [3, 3]
    assert ask(A, 200.002) == 6


def test_a_frame_captured_before_the_result_was_is_not_answered_with_it(mode: str) -> None:
    ask = Asker(prepared(mode=mode).cache)
    ask(A, 50)
    assert ask(A, 49.999) == 1


def test_the_least_recently_used_makes_room(mode: str) -> None:
    ask = Asker(prepared(mode=mode, size=3).cache)
    ask(A), ask(B), ask(C)
    assert ask(A) == 0  # used: B is the oldest now
    assert ask(D) == 4
    assert [ask(A), ask(C), ask(D)] == [0, 2, 4]
    assert ask(B) == 8


def test_a_cache_of_one_knows_the_last_one_only(mode: str) -> None:
    ask = Asker(prepared(mode=mode, size=1).cache)
    assert [ask(A), ask(A), ask(B), ask(B), ask(A)] == [0, 0, 2, 2, 4]


def test_a_renewed_result_takes_no_second_place(mode: str) -> None:
    ask = Asker(prepared(mode=mode, size=2, max_age_ms=10).cache)
    ask(A, 0), ask(B, 9)
    assert ask(A, 11) == 2
    assert [ask(B, 12), ask(A, 13)] == [1, 2]


def test_a_cache_that_is_off_is_none() -> None:
    assert prepared().cache is None
    assert prepared(mode="off").cache is None


# Exact.


def test_one_bit_of_one_pixel_makes_another_input() -> None:
    ask = Asker(prepared(mode="exact", size=1000).cache)
    ask(A)
    for place in range(A.size):
        for bit in (1, 64):
            other = A.copy()
            other.reshape(-1).view(np.uint8)[place] ^= bit
            assert ask(other) == ask.frame
    assert ask(A) == 0


def test_inputs_whose_hashes_collide_are_told_apart() -> None:
    class Colliding(bytes):
        def __hash__(self) -> int:
            return 7

        __eq__ = bytes.__eq__

    class Tensor:
        def __init__(self, array: NDArray[Any]) -> None:
            self.tobytes = lambda: Colliding(array.tobytes())

    ask = Asker(ExactCache(Cache(mode="exact")))
    tensors = [cast("Any", Tensor(each)) for each in (A, B, C, D)]
    assert [ask(each) for each in tensors * 2] == [0, 1, 2, 3, 0, 1, 2, 3]


# Models that must not be cached.


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_keeps_state_is_refused(mode: Any) -> None:
    summary = replace(read_model_file(DIGITS / "digits.tflite"), keeps_state=True)
    preprocess = prepared().preprocess
    with pytest.raises(CacheError, match=f"mode: {mode}.*digits.tflite: the model keeps state"):
        result_cache(Cache(mode=mode), summary, preprocess)
    assert result_cache(Cache(), summary, preprocess) is None


@pytest.mark.parametrize("mode", MODES)
def test_a_real_model_that_keeps_state_is_refused(testdata: Path, mode: str) -> None:
    model = testdata / "models" / "okay_nabu.tflite"
    with pytest.raises(CacheError, match=r"okay_nabu.tflite: the model keeps state"):
        prepare(a_pipeline(model, decode="raw", mode=mode))
    assert prepare(a_pipeline(model, decode="raw")).cache is None


def test_an_input_that_is_no_picture_is_cached_exactly_and_not_by_similarity(
    testdata: Path,
) -> None:
    model = testdata / "models" / "ad01_int8.tflite"
    with pytest.raises(CacheError, match=r"compares pictures.*int8 \[1, 640\].*mode: exact"):
        prepare(a_pipeline(model, decode="raw", mode="similar"))
    ready = prepare(a_pipeline(model, decode="raw", mode="exact"))
    ask, sound = Asker(ready.cache), ready.preprocess.buffer()
    assert [ask(sound), ask(sound)] == [0, 0]
    sound[0, 5] = 1
    assert ask(sound) == 2


# In the loop.


class CountedEngine:
    """The real engine, and how often it ran."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runs = 0

    def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
        self.runs += 1
        return self._engine.run(tensor)


class Scene:
    """The inference side of the digits pipeline, shown one frame after another."""

    def __init__(self, **cache: Any) -> None:
        pipeline = a_pipeline(DIGITS / "digits.tflite", **cache)
        ready = prepare(pipeline)
        self.engine = CountedEngine(ready.engine)
        self.records: list[Record] = []
        self._way = replace(ready, engine=cast("Engine", self.engine))
        schedule: Schedule[Slot] = Schedule([NEVER_NS], drop_late=False)
        self._mailbox = Mailbox(schedule, lambda: [None])
        self._inference = InferenceSide(
            self._mailbox, self.records.append, live=True, max_frames=None, wanted=lambda: 0
        )
        self._frames = itertools.count()
        self._began_ns = time.monotonic_ns() - 3600 * 1000 * MS

    def show(self, picture: NDArray[Any], at_ms: float) -> Done:
        """Answer a frame captured so many milliseconds after the first."""
        slot = self._mailbox.blank(self._way)
        slot.frame = next(self._frames)
        slot.captured_ns = self._began_ns + round(at_ms * MS)
        self._way.preprocess(picture, slot.tensor)
        slot.retrieved_ns = slot.prepared_ns = time.monotonic_ns()
        assert self._mailbox.offer(slot)
        self._inference.answer()
        done = self.records[-1]
        assert isinstance(done, Done)
        return done


@pytest.mark.parametrize("mode", MODES)
def test_the_same_frame_twice_is_one_forward_pass(mode: str) -> None:
    scene = Scene(mode=mode)
    first, second = scene.show(digit(0), 0), scene.show(digit(0), 33)
    assert scene.engine.runs == 1
    assert (first.cached, second.cached) == (None, (0, 33 * MS, 1.0, 0))
    assert second.predictions == first.predictions
    assert (first.frame, second.frame) == (0, 1)
    other = scene.show(digit(1), 66)
    assert scene.engine.runs == 2
    assert other.cached is None
    assert other.predictions != first.predictions


def test_off_runs_every_frame() -> None:
    scene = Scene(mode="off")
    answers = [scene.show(digit(0), 33 * number) for number in range(5)]
    assert scene.engine.runs == 5
    assert {answer.cached for answer in answers} == {None}


@pytest.mark.parametrize("mode", MODES)
def test_a_hit_spends_no_time_on_a_forward_pass_and_its_stages_still_follow(mode: str) -> None:
    scene = Scene(mode=mode)
    scene.show(digit(0), 0)
    hit = scene.show(digit(0), 1)
    assert hit.taken_ns == hit.inferred_ns == hit.decoded_ns
    assert hit.captured_ns <= hit.retrieved_ns <= hit.prepared_ns < hit.taken_ns
    run = scene.show(digit(1), 2)
    assert run.prepared_ns < run.taken_ns < run.inferred_ns < run.decoded_ns


def test_a_change_that_similar_does_not_see_is_served_no_longer_than_its_age_allows() -> None:
    scene = Scene(mode="similar", similarity=0.5, max_age_ms=1000)
    before, after = digit(16), digit(16) - digit(16) // 3  # the dimmer one scores less
    old = scene.show(before, 0)
    fresh = Scene(mode="off").show(after, 0)
    assert old.predictions != fresh.predictions
    answers = [(at_ms, scene.show(after, at_ms)) for at_ms in range(40, 2400, 40)]
    stale = [at_ms for at_ms, answer in answers if answer.predictions == old.predictions]
    assert stale == list(range(40, 1001, 40))
    assert all(a.predictions == fresh.predictions for at, a in answers if at > 1000)
    assert scene.engine.runs == 3  # at 0, 1040 and 2080 ms


def test_a_change_that_similar_sees_is_answered_at_once() -> None:
    scene = Scene(mode="similar", max_age_ms=3_600_000)
    for number in range(12):
        shown = scene.show(digit(number), number * 33)
        fresh = Scene(mode="off").show(digit(number), 0)
        assert shown.predictions == fresh.predictions
