"""Which frames a model in shadow answers, on what input, and when it has no time."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from digit_models import DIGITS

from edge.config.pipeline import Pipeline
from edge.errors import ModelError
from edge.sources.base import ModelInput
from edge.wire import Done, Shadowed
from edge.worker.loop import Loop
from edge.worker.mailbox import Slot
from edge.worker.prepare import Prepared, prepare
from edge.worker.recorder import Recorder
from edge.worker.shadow import Shadow, is_chosen, same_input

if TYPE_CHECKING:
    from edge.geometry import Geometry
    from edge.wire import Record

MS = 1_000_000
FRAME = np.zeros((8, 8, 3), np.uint8)


def options(**fields: Any) -> Pipeline:
    model = {"path": DIGITS / "digits.tflite", **fields.pop("model", {})}
    return Pipeline.model_validate({"source": {"type": "synthetic"}, "model": model, **fields})


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(options())


@pytest.fixture(scope="module")
def inverted() -> Prepared:
    """The same model, which is shown its pictures inverted: another input."""
    return prepare(options(model={"mean": 255.0, "std": -255.0}), revision=3)


class Party:
    """A shadow, and what it tells."""

    def __init__(
        self, way: Prepared | None = None, share: float = 1.0, *, live: bool = True
    ) -> None:
        self.told: list[Any] = []
        self.shadow = Shadow(self.told.append, Recorder(), live=live)
        if way is not None:
            self.shadow.begin(way, share)

    def captured(self, serving: Prepared, number: int = 0, frame: Any = FRAME) -> Slot:
        slot = Slot(serving.preprocess.buffer(), serving)
        slot.frame = number
        serving.preprocess(frame, slot.tensor)
        self.shadow.captured(slot, frame)
        return slot

    def run(self, slot: Slot, predictions: list[Any]) -> None:
        way = self.shadow.way
        assert way is not None
        self.shadow.run(way, slot, predictions)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("every", [1, 2, 3, 5, 8, 10, 13])
def test_the_share_is_met_evenly_whichever_frames_are_run(share: float, every: int) -> None:
    chosen = [is_chosen(number, share) for number in range(7, 7 + 2000 * every, every)]
    assert sum(chosen) == pytest.approx(2000 * share, rel=0.2)
    for half in (chosen[:1000], chosen[1000:]):
        assert sum(half) == pytest.approx(1000 * share, rel=0.3, abs=5)
    again = [is_chosen(number, share) for number in range(7, 7 + 2000 * every, every)]
    assert again == chosen


def test_a_shadow_that_is_not_there_costs_a_frame_nothing(digits: Prepared) -> None:
    slot = Party().captured(digits)
    assert (slot.shadow, slot.pixels) == (-1, None)


def test_a_frame_that_is_not_chosen_is_not_kept(inverted: Prepared, digits: Prepared) -> None:
    party = Party(inverted, share=0.3)
    slots = [party.captured(digits, number) for number in range(20)]
    for slot in slots:
        assert (slot.shadow == 3) == (slot.pixels is not None) == is_chosen(slot.frame, 0.3)


def test_the_same_input_is_not_made_twice(digits: Prepared, inverted: Prepared) -> None:
    assert same_input(digits, dataclasses.replace(digits))
    assert not same_input(digits, inverted)
    party = Party(dataclasses.replace(digits))
    slot = party.captured(digits)
    assert slot.pixels is None
    predictions = digits.decode(digits.engine.run(slot.tensor), slot.geometry)
    party.run(slot, predictions)
    (told,) = party.told
    assert (told.agreed, told.failure) == (True, "")
    assert told.inference_ns > 0


def test_for_another_input_a_pulled_frame_is_copied(digits: Prepared, inverted: Prepared) -> None:
    party = Party(inverted, live=False)
    frame = np.full((8, 8, 3), 200, np.uint8)
    slot = party.captured(digits, frame=frame)
    frame[:] = 0  # the source writes the next one there
    party.shadow.retrievals[0] += 1
    assert isinstance(slot.pixels, np.ndarray)
    assert (slot.pixels == 200).all()
    kept = slot.pixels
    party.shadow.captured(slot, frame)
    assert slot.pixels is kept, "in the same memory"
    party.run(slot, [])
    assert party.told[0].agreed is not None
    party.shadow.end()
    party.shadow.captured(slot, frame)
    assert slot.pixels is None


def test_for_another_input_a_live_frame_is_taken_as_it_lies_unless_it_is_gone(
    digits: Prepared, inverted: Prepared
) -> None:
    party = Party(inverted)
    frame = np.full((8, 8, 3), 200, np.uint8)
    slot = party.captured(digits, frame=frame)
    assert slot.pixels is frame
    party.run(slot, [])
    assert len(party.told) == 1
    party.shadow.retrievals[1] += 1  # another source's
    party.run(slot, [])
    assert len(party.told) == 2
    party.shadow.retrievals[0] += 1
    party.run(slot, [])
    assert (len(party.told), party.shadow.skipped) == (2, 1)


def test_what_is_the_models_input_already_is_kept_as_well(
    digits: Prepared, inverted: Prepared
) -> None:
    party = Party(inverted, live=False)
    array = np.full(digits.engine.inputs[0].shape, 7, np.int8)
    slot = party.captured(digits, frame=ModelInput(array))
    array[:] = 0
    assert isinstance(slot.pixels, ModelInput)
    assert isinstance(slot.pixels.data, np.ndarray)
    assert (slot.pixels.data == 7).all()
    told = bytes(digits.preprocess.buffer().nbytes)
    slot = party.captured(digits, frame=ModelInput(told))
    assert isinstance(slot.pixels, ModelInput)
    assert slot.pixels.data is told


def test_whatever_it_raises_is_told_and_no_more(digits: Prepared) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("as a decoder may")

    party = Party(dataclasses.replace(digits, decode=fail))
    party.run(party.captured(digits, 4), [])
    (told,) = party.told
    assert isinstance(told, Shadowed)
    assert (told.frame, told.agreed) == (4, None)
    assert told.failure == "ZeroDivisionError: as a decoder may"


def test_a_model_that_keeps_state_is_refused_and_the_one_before_stays(digits: Prepared) -> None:
    party = Party(digits)
    with pytest.raises(ModelError, match="it cannot run in shadow"):
        party.shadow.begin(dataclasses.replace(digits, keeps_state=True), 1)
    assert party.shadow.way is digits


def test_there_is_time_where_the_longest_pass_would_end_before_the_next_frame(
    digits: Prepared,
) -> None:
    party = Party(dataclasses.replace(digits, warm_ns=10 * MS))
    assert party.shadow.has_time(0, 13 * MS)
    assert not party.shadow.has_time(0, 12 * MS)
    for count in range(1, 9):
        party.shadow.skip()
        assert party.shadow.skipped == count
    assert not party.shadow.has_time(0, 12 * MS), "that is what it takes"
    party.run(party.captured(digits), [])  # in less than a millisecond, or some more
    for _ in range(8):
        party.shadow.skip()
    assert party.shadow.has_time(0, 12 * MS), "one slow pass is forgotten"


class Timed:
    """A loop over the digits at a rate, with a shadow that takes so long."""

    def __init__(
        self, digits: Prepared, *, shadow_ms: float, frames: int = 40, **more: Any
    ) -> None:
        self.records: list[Record] = []
        source = {"type": "images", "path": DIGITS / "held-out.png", "tile": 8, **more}
        pipeline = options(source=source, deadline_ms=10_000)
        way = dataclasses.replace(digits, options=pipeline)
        self.loop = Loop(pipeline, way, self.records.append, max_frames=frames)

        def decode(outputs: Any, geometry: Geometry) -> Any:
            time.sleep(shadow_ms / 1e3)
            return digits.decode(outputs, geometry)

        slow = dataclasses.replace(digits, decode=decode, warm_ns=round(shadow_ms * MS))
        self.loop.inference.shadow.begin(slow, 1.0)
        self.loop.run()

    @property
    def ran(self) -> list[int]:
        return [record.frame for record in self.records if isinstance(record, Shadowed)]

    @property
    def done(self) -> list[int]:
        return [record.frame for record in self.records if isinstance(record, Done)]


def test_a_result_leaves_before_the_shadow_answers(digits: Prepared) -> None:
    run = Timed(digits, shadow_ms=1)
    kinds = [type(r) for r in run.records if isinstance(r, Done | Shadowed)]
    assert kinds == [Done, Shadowed] * 40
    assert run.ran == run.done == list(range(40))


def test_between_the_frames_of_a_live_source_only_what_fits_is_run(digits: Prepared) -> None:
    run = Timed(digits, shadow_ms=30, fps=50, loop=True, frames=15)
    assert run.ran == []
    assert run.loop.inference.shadow.skipped == len(run.done) == 15
    assert run.loop.beat().unshadowed == 15


def test_one_that_never_has_time_is_tried_now_and_then_and_ever_more_rarely(
    digits: Prepared,
) -> None:
    party = Party(dataclasses.replace(digits, warm_ns=10 * MS))
    tried = []
    for number in range(16 + 32 + 64 + 3):
        if party.shadow.has_time(0, 5 * MS):
            tried.append(number)
            party.shadow._in_a_row = 0  # it was run, and took as long as was known
        else:
            party.shadow.skip()
    assert tried == [16, 16 + 32 + 1, 16 + 32 + 64 + 2]


def test_where_nobody_knows_the_next_frame_the_deadline_decides(digits: Prepared) -> None:
    run = Timed(digits, shadow_ms=0, frames=3, fps=50, loop=True)
    (capture,) = run.loop.captures
    capture.source.due_ns = lambda: None  # type: ignore[method-assign]
    until_ns = capture.engine_wanted_ns() - time.monotonic_ns()
    assert 9_900 * MS < until_ns < 10_000 * MS
    due_ns = time.monotonic_ns() + 40 * MS
    capture.source.due_ns = lambda: due_ns  # type: ignore[method-assign]
    assert due_ns - 10 * MS < capture.engine_wanted_ns() < due_ns
