"""The frame's way through both threads, with the real digits model and, mostly, real files."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import cv2
import numpy as np
import pytest

from edge.config.pipeline import Pipeline
from edge.errors import FrameError, ModelError, SourceError
from edge.sources.base import Grabbed, Source, SourceOptions
from edge.sources.synthetic import SyntheticOptions
from edge.wire import Done, Late, Note
from edge.worker import capture, inference, loop
from edge.worker.loop import Loop
from edge.worker.prepare import Prepared, prepare
from edge.worker.schedule import Costs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge.engines.engine import Engine
    from edge.wire import Record

DIGITS = Path(__file__).parents[2] / "models" / "digits"
LONG_S = 20.0  # never reached, unless something hangs
SECOND_NS = 1_000_000_000
A_FRAME = np.zeros((8, 8, 3), np.uint8)


def options(source: dict[str, Any] | SourceOptions, **fields: Any) -> Pipeline:
    """A pipeline with the digits model; a source of the test's own may stand in it."""
    named = source if isinstance(source, dict) else {"type": "synthetic"}
    pipeline = Pipeline.model_validate(
        {
            "source": named,
            "model": {"path": DIGITS / "digits.tflite", "labels": DIGITS / "labels.txt"},
            **fields,
        }
    )
    return pipeline if named is source else pipeline.model_copy(update={"source": source})


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(options({"type": "synthetic"}))


@pytest.fixture(autouse=True)
def _nothing_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(capture, "LONGEST_RETRY_S", 0.002)
    for module in (capture, loop):
        monkeypatch.setattr(module, "IDLE_S", 0.05)


class Run:
    """A pipeline and all that it tells."""

    def __init__(
        self,
        pipeline: Pipeline,
        prepared: Prepared,
        *,
        first_frame: int = 0,
        max_frames: int | None = None,
        told: Callable[[Record], None] = lambda _: None,
    ) -> None:
        self.records: list[Record] = []
        self.options = pipeline

        def tell(record: Record) -> None:
            self.records.append(record)
            told(record)

        prepared = dataclasses.replace(prepared, options=pipeline, costs=Costs())
        self.costs = prepared.costs
        self.loop = Loop(
            pipeline, prepared, tell, first_frames=[first_frame], max_frames=max_frames
        )
        self.mailbox, self.inference = self.loop.mailbox, self.loop.inference
        self.capture = self.loop.captures[0]

    def __call__(self) -> Run:
        self.loop.run()
        return self

    @property
    def done(self) -> list[Done]:
        return [record for record in self.records if isinstance(record, Done)]

    @property
    def late(self) -> list[Late]:
        return [record for record in self.records if isinstance(record, Late)]

    @property
    def notes(self) -> list[Note]:
        return [record for record in self.records if isinstance(record, Note)]

    @property
    def events(self) -> list[str]:
        return [note.event for note in self.notes]


class Script(SourceOptions):
    """A source of the test's own: `steps` are its frames, and errors where it raises them.

    A new `open` goes on where the last one was; `openings` are errors that it raises before.
    With `in_turn` a frame is given only when the one before was answered, told by `next`.
    """

    type: Literal["script"] = "script"
    is_live: bool = True
    in_turn: bool = True
    steps: list[Any]
    openings: tuple[Any, ...] = ()

    @property
    def live(self) -> bool:
        return self.is_live

    def make(self) -> Source:
        return ScriptedSource(self)


class ScriptedSource(Source):
    def __init__(self, script: Script) -> None:
        self._steps = iter(script.steps)
        self._openings = iter(script.openings)
        self._in_turn = script.in_turn
        self._number = -1
        self._at: Any = None
        self.turn = threading.Semaphore(1)
        self.exhausted = threading.Event()
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1
        error = next(self._openings, None)
        if error is not None:
            raise error

    def grab(self, stop: threading.Event) -> Grabbed | None:
        if self._in_turn:
            while not self.turn.acquire(timeout=0.01):
                if stop.is_set():
                    return None
        self._at = next(self._steps, None)
        if self._at is None:
            self.exhausted.set()
        if self._at is None or stop.is_set():
            return None
        if isinstance(self._at, SourceError):
            self.turn.release()
            raise self._at
        self._number += 1
        age_ns = self._at if isinstance(self._at, int) else 0
        return Grabbed(self._number, time.monotonic_ns() - age_ns, name=f"#{self._number}")

    def retrieve(self) -> NDArray[Any]:
        if isinstance(self._at, Exception):
            self.turn.release()
            raise self._at
        return A_FRAME

    def close(self) -> None:
        self.closed += 1


def scripted(prepared: Prepared, script: Script, **fields: Any) -> tuple[Run, ScriptedSource]:
    """A run of a script whose frames come one by one, each after the answer to the last."""

    def told(record: Record) -> None:
        if isinstance(record, (Done, Late)):
            source.turn.release()

    run_fields = {key: fields.pop(key) for key in ("first_frame", "max_frames") if key in fields}
    run = Run(options(script, **fields), prepared, told=told, **run_fields)
    source = cast("ScriptedSource", run.capture.source)
    return run, source


FRAME = 0  # a step of a script: a frame captured now
LATE = 10 * SECOND_NS  # the same, but captured so long ago


class BlockedEngine:
    """Answers with zeros, and only while `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = threading.Event()
        self.seen: list[NDArray[Any]] = []

    def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
        self.running.set()
        assert self.go.wait(LONG_S)
        self.seen.append(tensor.copy())
        return [np.zeros((1, 10), np.int8)]


def with_engine(prepared: Prepared, engine: object) -> Prepared:
    return dataclasses.replace(prepared, engine=cast("Engine", engine))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 30 held-out digits, a file each, named so that their order is that of the sheet."""
    folder = tmp_path_factory.mktemp("digits")
    sheet = cv2.imread(str(DIGITS / "held-out.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    truths = (DIGITS / "held-out.txt").read_text().split()
    for index in range(30):
        tile = np.ascontiguousarray(sheet[:8, index * 8 : index * 8 + 8])
        (folder / truths[index]).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / truths[index] / f"{index:03}.png"), tile)
    return folder


def files_of(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("*.png"))]


# Pulled sources.


def test_a_pulled_folder_is_answered_file_by_file_in_order_and_once_each(
    digits: Prepared, folder: Path
) -> None:
    source = {"type": "images", "path": folder, "truth": "folder"}
    run = Run(options(source), digits)()
    assert [done.name for done in run.done] == files_of(folder)
    assert [done.frame for done in run.done] == list(range(30))
    assert len(run.records) == 30
    assert run.mailbox.replaced == [0]
    right = sum(done.predictions[0]["label"] == done.truth for done in run.done)
    assert right >= 28  # the model's card: 99 of 100


def test_the_sheet_of_the_demo_is_read_as_well_as_the_models_card_says(digits: Prepared) -> None:
    sheet = {"type": "images", "path": DIGITS / "held-out.png", "tile": 8, "truth": "list"}
    run = Run(options(sheet), digits)()
    assert len(run.done) == 540
    right = sum(done.predictions[0]["label"] == done.truth for done in run.done)
    assert right / 540 == pytest.approx(0.9907, abs=0.005)


def test_the_stages_of_a_frame_follow_one_another(digits: Prepared, folder: Path) -> None:
    began_ns = time.monotonic_ns()
    run = Run(options({"type": "images", "path": folder}), digits)()
    for done in run.done:
        times = [
            began_ns,
            done.captured_ns,
            done.retrieved_ns,
            done.prepared_ns,
            done.taken_ns,
            done.inferred_ns,
            done.decoded_ns,
            time.monotonic_ns(),
        ]
        assert times == sorted(times)


def test_as_many_frames_are_answered_as_were_asked_for(digits: Prepared, folder: Path) -> None:
    run = Run(options({"type": "images", "path": folder}), digits, max_frames=7)()
    assert [done.name for done in run.done] == files_of(folder)[:7]


def test_no_frame_is_answered_when_none_is_asked_for(digits: Prepared, folder: Path) -> None:
    assert Run(options({"type": "images", "path": folder}), digits, max_frames=0)().records == []


def test_a_live_source_goes_on_counting_where_the_last_worker_was(
    digits: Prepared, folder: Path
) -> None:
    live = options({"type": "images", "path": folder, "fps": 50, "loop": True})
    run = Run(live, digits, first_frame=1000, max_frames=1)()
    assert [done.name for done in run.done] == files_of(folder)[:1]
    assert [done.frame for done in run.done] == [1000]


def test_a_pulled_source_goes_on_with_the_file_where_the_last_worker_was(
    digits: Prepared, folder: Path
) -> None:
    run = Run(options({"type": "images", "path": folder}), digits, first_frame=3, max_frames=2)()
    assert [done.name for done in run.done] == files_of(folder)[3:5]
    assert [done.frame for done in run.done] == [3, 4]


def test_an_unreadable_image_is_noted_and_the_others_are_answered(
    digits: Prepared, folder: Path, tmp_path: Path
) -> None:
    good = files_of(folder)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG and nothing after it")
    files = [
        *good[:2],
        str(tmp_path / "damaged.png"),
        *good[2:4],
        str(tmp_path / "empty.png"),
        good[4],
    ]
    (tmp_path / "empty.png").touch()
    pipeline = options({"type": "images", "path": files})
    run = Run(pipeline, digits)()

    assert [done.name for done in run.done] == good[:5]
    assert [done.frame for done in run.done] == [0, 1, 3, 4, 6]
    assert run.events == ["frame_failed", "frame_failed"]
    damaged, empty = run.notes
    assert damaged.details == {"frame": 2, "file": str(tmp_path / "damaged.png")}
    assert damaged.message.count("damaged.png") == 1
    assert empty.details == {"frame": 5, "file": str(tmp_path / "empty.png")}


def test_a_frame_that_does_not_fit_the_model_is_noted_with_its_name(
    digits: Prepared, folder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((1, 9, 9, 1), np.int8))
    files = [tmp_path / "wrong.npy", files_of(folder)[0]]
    run = Run(options({"type": "images", "path": files}), digits)()
    assert len(run.done) == 1
    assert run.events == ["frame_failed"]
    assert "wrong.npy: the input is int8 [1, 9, 9, 1]" in run.notes[0].message


def test_a_pulled_source_that_cannot_be_opened_ends_the_run_with_its_error(
    digits: Prepared, tmp_path: Path
) -> None:
    run = Run(options({"type": "images", "path": tmp_path / "nowhere"}), digits)
    with pytest.raises(SourceError, match="nowhere"):
        run()
    assert run.records == []


def test_a_pulled_source_that_breaks_ends_the_run_after_the_frames_it_gave(
    digits: Prepared,
) -> None:
    steps = [FRAME, FRAME, SourceError("the card was pulled out")]
    run, source = scripted(digits, Script(steps=steps, is_live=False))
    with pytest.raises(SourceError, match="the card was pulled out"):
        run()
    assert [done.frame for done in run.done] == [0, 1]
    assert source.closed == source.opened == 1


def test_a_pulled_source_waits_while_the_model_is_busy(digits: Prepared) -> None:
    engine = BlockedEngine()
    script = Script(steps=[FRAME] * 6, is_live=False, in_turn=False)
    run = Run(options(script), with_engine(digits, engine))
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert engine.running.wait(LONG_S)
    engine.go.set()
    runner.join(LONG_S)
    assert [done.frame for done in run.done] == list(range(6))
    assert run.mailbox.replaced == [0]


# Deadlines.


def test_a_live_frame_already_past_its_deadline_is_dropped_before_the_forward_pass(
    digits: Prepared,
) -> None:
    engine = BlockedEngine()
    engine.go.set()
    script = Script(steps=[FRAME, LATE, LATE, FRAME])
    prepared = with_engine(digits, engine)
    run, _ = scripted(prepared, script, deadline_ms=5000, on_late="drop", first_frame=10)
    run()
    assert [done.frame for done in run.done] == [10, 13]
    assert [late.frame for late in run.late] == [11, 12]
    assert len(engine.seen) == 2
    for late in run.late:
        times = [late.captured_ns, late.retrieved_ns, late.prepared_ns, late.taken_ns]
        assert times == sorted(times)
        assert late.taken_ns - late.captured_ns > 5 * SECOND_NS


def test_a_late_frame_is_run_where_that_is_asked(digits: Prepared) -> None:
    script = Script(steps=[FRAME, LATE, LATE, FRAME])
    run, _ = scripted(digits, script, deadline_ms=5000, on_late="run")
    run()
    assert [done.frame for done in run.done] == [0, 1, 2, 3]
    assert run.late == []


def test_a_late_frame_of_a_pulled_source_is_run_whatever_is_asked(digits: Prepared) -> None:
    script = Script(steps=[LATE, FRAME, LATE], is_live=False)
    run, _ = scripted(digits, script, deadline_ms=5000, on_late="drop")
    run()
    assert [done.frame for done in run.done] == [0, 1, 2]
    assert run.late == []


def test_late_frames_are_not_among_the_frames_asked_for(digits: Prepared) -> None:
    script = Script(steps=[LATE, FRAME, LATE, FRAME, FRAME, FRAME])
    run, _ = scripted(digits, script, deadline_ms=5000, max_frames=2)
    run()
    assert [done.frame for done in run.done] == [1, 3]


# Live sources.


@pytest.mark.parametrize("asked", [1, 4])
def test_a_live_source_never_waits_and_the_newest_frame_wins(digits: Prepared, asked: int) -> None:
    """Also where a batch was asked for, of a model that runs frames one at a time."""
    engine = BlockedEngine()
    script = Script(steps=[FRAME] * 50, in_turn=False)
    run = Run(
        options(script, deadline_ms=60_000, batch={"max_size": asked}), with_engine(digits, engine)
    )
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert engine.running.wait(LONG_S)
    source = cast("ScriptedSource", run.capture.source)
    assert source.exhausted.wait(LONG_S)  # though the model never answered
    engine.go.set()
    runner.join(LONG_S)
    frames = [done.frame for done in run.done]
    assert frames[-1] == 49
    assert len(frames) <= 2
    assert len(frames) + run.mailbox.replaced[0] == 50


def test_a_live_source_that_cannot_be_opened_is_tried_again_and_told_once(
    digits: Prepared,
) -> None:
    absent = SourceError("there is no such camera")
    busy = SourceError("it is in use")
    script = Script(steps=[FRAME, FRAME], openings=(absent, absent, absent, busy, busy))
    run, source = scripted(digits, script)
    run()
    assert source.opened == 6
    assert [done.frame for done in run.done] == [0, 1]
    lost = [note.message for note in run.notes if note.event == "source_lost"]
    assert lost == ["there is no such camera", "it is in use"]


def test_a_source_that_was_told_as_lost_before_it_ever_opened_is_told_when_it_comes(
    digits: Prepared,
) -> None:
    script = Script(steps=[FRAME], openings=(SourceError("there is no such camera"),))
    run, _ = scripted(digits, script)
    run()
    assert run.events == ["source_lost", "source_back"]


def test_a_live_source_that_goes_away_is_opened_anew_and_its_frames_go_on(
    digits: Prepared,
) -> None:
    gone = SourceError("was it unplugged?")
    script = Script(steps=[FRAME, FRAME, gone, FRAME, FRAME, FRAME, gone, FRAME, FRAME])
    run, source = scripted(digits, script)
    run()
    assert run.events == ["source_lost", "source_back"] * 2
    assert run.notes[0].message == "was it unplugged?"
    assert [done.frame for done in run.done] == list(range(7))
    assert source.closed == source.opened == 3


def test_a_live_source_that_goes_away_before_its_first_frame_is_opened_anew(
    digits: Prepared,
) -> None:
    script = Script(steps=[SourceError("not yet"), FRAME, FRAME])
    run, source = scripted(digits, script)
    run()
    assert [done.frame for done in run.done] == [0, 1]
    assert source.opened == 2


class CountingStop(threading.Event):
    """A `stop` that is set by the tenth opening, and notes what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits_s.append(timeout)
        return self.is_set()


def test_a_source_that_opens_but_gives_nothing_is_not_tried_again_without_a_pause(
    digits: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A camera whose driver accepts everything and then delivers no frame; a stream that ends
    # at once. Each try is a connection, and two events to every subscriber.
    script = Script(steps=[SourceError("gives no frames")] * 20, in_turn=False)
    run = Run(options(script), digits)
    source = cast("ScriptedSource", run.capture.source)
    stop = CountingStop()
    monkeypatch.setattr(run.capture, "stopping", stop)

    def open_and_count() -> None:
        source.opened += 1
        if source.opened == 10:
            stop.set()

    monkeypatch.setattr(source, "open", open_and_count)
    run()
    assert source.opened == 10
    assert len(stop.waits_s) >= 5


def test_a_bad_frame_of_a_live_source_is_noted_and_the_next_is_answered(digits: Prepared) -> None:
    script = Script(steps=[FRAME, FrameError("half a JPEG"), FRAME])
    run, source = scripted(digits, script, first_frame=50)
    run()
    assert [done.frame for done in run.done] == [50, 52]
    assert run.notes == [Note("frame_failed", "#1: half a JPEG", {"frame": 51, "file": "#1"})]
    assert source.opened == 1


def test_stopping_ends_a_run_whose_source_gives_nothing(digits: Prepared) -> None:
    run, _ = scripted(digits, Script(steps=[FRAME] * 3))
    answered = threading.Event()
    run.inference._tell = lambda _: answered.set()  # and the source waits for its turn for ever
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert answered.wait(LONG_S)
    run.inference.stopping.set()
    runner.join(LONG_S)
    assert not runner.is_alive()


def test_stopping_ends_the_tries_to_open_a_source(
    digits: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "FIRST_RETRY_S", LONG_S * 10)
    monkeypatch.setattr(capture, "LONGEST_RETRY_S", LONG_S * 10)
    told = threading.Event()
    script = Script(steps=[], openings=(SourceError("absent"),))
    run = Run(options(script), digits, told=lambda _: told.set())
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert told.wait(LONG_S)
    run.inference.stopping.set()
    runner.join(LONG_S)
    assert not runner.is_alive()


def test_a_source_that_hangs_in_its_driver_does_not_hold_up_the_end(digits: Prepared) -> None:
    class Hanging(ScriptedSource):
        in_the_driver, released = threading.Event(), threading.Event()

        def grab(self, stop: threading.Event) -> Grabbed | None:
            self.in_the_driver.set()
            self.released.wait()
            return super().grab(stop)

    run, _ = scripted(digits, Script(steps=[]))
    hanging = Hanging(Script(steps=[]))
    run.capture.source = hanging
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    try:
        assert hanging.in_the_driver.wait(LONG_S)
        run.inference.stopping.set()
        runner.join(LONG_S)
        assert not runner.is_alive()
    finally:
        hanging.released.set()


class Clocked(ScriptedSource):
    """A source that says when its next frame comes: `due_in_ns` from now."""

    due_in_ns = 0

    def due_ns(self) -> int | None:
        return time.monotonic_ns() + self.due_in_ns


def clocked(prepared: Prepared, script: Script, *, due_in_ns: int) -> tuple[Run, Clocked]:
    """A run of a script whose source knows its time."""
    run = Run(options(script, deadline_ms=60_000), prepared)
    source = Clocked(script)
    source.due_in_ns = due_in_ns
    run.capture.source = source
    return run, source


@pytest.mark.parametrize(
    ("due_in_ns", "decoded"),
    [(0, 1), (10 * SECOND_NS, 6)],
    ids=["a newer frame comes in time", "no other frame comes in time"],
)
def test_a_frame_that_a_newer_one_will_replace_is_not_decoded(
    digits: Prepared, due_in_ns: int, decoded: int
) -> None:
    engine = BlockedEngine()
    run, source = clocked(
        with_engine(digits, engine), Script(steps=[FRAME] * 6, in_turn=False), due_in_ns=due_in_ns
    )
    retrieved: list[int] = []

    def retrieve() -> NDArray[Any]:
        retrieved.append(source._number)
        return A_FRAME

    source.retrieve = retrieve  # type: ignore[method-assign]
    run.capture.has_time = lambda: False  # type: ignore[method-assign]
    run.costs.take(1, 5 * SECOND_NS)  # what the one under way will take
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert source.exhausted.wait(LONG_S)
    engine.go.set()
    runner.join(LONG_S)
    assert len(retrieved) == decoded
    assert len(run.done) + run.mailbox.replaced[0] == 6


def test_the_thread_that_has_the_source_keeps_it_through_a_short_pass(digits: Prepared) -> None:
    threads: set[str] = set()

    class Noting:
        def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
            threads.add(threading.current_thread().name)
            return digits.engine.run(tensor)

    prepared = with_engine(digits, Noting())
    run, _ = clocked(prepared, Script(steps=[FRAME] * 20, in_turn=False), due_in_ns=SECOND_NS)
    run.costs.take(1, 1)
    run()
    assert len(run.done) == 20
    assert len(threads) == 1


def test_results_of_a_pulled_source_keep_their_order_whoever_finishes_them(
    digits: Prepared,
) -> None:
    script = Script(steps=[FRAME] * 500, is_live=False, in_turn=False)
    run = Run(options(script), digits)()
    assert [done.frame for done in run.done] == list(range(500))
    decoded = [done.decoded_ns for done in run.done]
    assert decoded == sorted(decoded)


# Errors of our own, and chores.


def test_what_no_source_should_raise_ends_the_run_with_its_cause(digits: Prepared) -> None:
    bug = ZeroDivisionError("a bug in a source")
    run, source = scripted(digits, Script(steps=[FRAME, bug]))
    with pytest.raises(RuntimeError, match="a thread of the loop failed") as caught:
        run()
    assert caught.value.__cause__ is bug
    assert source.closed == 1


def test_a_forward_pass_that_fails_ends_the_run_and_closes_the_source(digits: Prepared) -> None:
    class Failing:
        def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
            raise ModelError(f"the forward pass failed on {tensor.shape}")

    run, source = scripted(with_engine(digits, Failing()), Script(steps=[FRAME, FRAME]))
    with pytest.raises(ModelError, match="forward pass failed"):
        run()
    assert source.closed == 1


def test_the_inference_side_says_since_when_it_is_busy(digits: Prepared) -> None:
    engine = BlockedEngine()
    run = Run(options(Script(steps=[FRAME], in_turn=False)), with_engine(digits, engine))
    assert run.inference.busy_since_ns == 0
    began_ns = time.monotonic_ns()
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    assert engine.running.wait(LONG_S)
    assert began_ns <= run.inference.busy_since_ns <= time.monotonic_ns()
    engine.go.set()
    runner.join(LONG_S)
    assert run.inference.busy_since_ns == 0


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at every collection that the loop asks for."""
    made: list[int] = []

    class Collector:
        @staticmethod
        def collect() -> None:
            made.append(1)

    monkeypatch.setattr(inference, "gc", Collector)
    return made


def test_garbage_is_collected_once_in_so_many_answers(
    digits: Prepared, monkeypatch: pytest.MonkeyPatch, collections: Sequence[int]
) -> None:
    monkeypatch.setattr(inference, "COLLECT_EVERY", 5)
    run, _ = scripted(digits, Script(steps=[FRAME] * 17), deadline_ms=60_000)
    run()
    assert len(run.done) == 17
    assert len(collections) == 3


def test_a_frame_that_is_dropped_late_costs_no_collection(
    digits: Prepared, collections: Sequence[int]
) -> None:
    # It would make the next one late as well.
    run, _ = scripted(digits, Script(steps=[LATE] * 8 + [FRAME]), deadline_ms=5000)
    run()
    assert len(run.late) == 8
    assert len(collections) == 0


# Several sources.


def several(prepared: Prepared, *sources: SourceOptions, **fields: Any) -> Run:
    """A run of several sources of the test's own, named a, b, c.."""
    model = {"path": DIGITS / "digits.tflite", "labels": DIGITS / "labels.txt"}
    named = dict(zip("abcdefgh", sources, strict=False))
    valid = {name: {"type": "synthetic"} for name in named}
    pipeline = Pipeline.model_validate({"sources": valid, "model": model, **fields})
    return Run(pipeline.model_copy(update={"sources": named}), prepared)


def test_several_sources_are_all_answered_and_each_counts_for_itself(digits: Prepared) -> None:
    fast = SyntheticOptions(type="synthetic", fps=200, width=16, height=16)
    slow = SyntheticOptions(type="synthetic", fps=50, width=16, height=16)
    run = several(digits, fast, slow, deadline_ms=5000)
    stop = threading.Timer(1, run.loop.stop)
    stop.start()
    run()
    of = [[done.frame for done in run.done if done.source == source] for source in (0, 1)]
    for frames, capture_side in zip(of, run.loop.captures, strict=True):
        assert frames == sorted(set(frames))
        beat = run.loop.beat()
        lost = beat.replaced[capture_side.number] + beat.lost[capture_side.number]
        assert frames[-1] + 1 == len(frames) + lost
    assert len(of[0]) > len(of[1]) > 20


def test_a_source_that_ends_or_fails_leaves_the_others_at_work(digits: Prepared) -> None:
    short = Script(steps=[FRAME] * 3, in_turn=False)
    broken = Script(steps=[FRAME, FrameError("half a JPEG"), FRAME], in_turn=False)
    gone = SourceError("there is no such camera")
    absent = Script(steps=[FRAME], in_turn=False, openings=(gone,))
    run = several(digits, short, broken, absent, deadline_ms=60_000, on_late="run")
    run()
    last = {done.source: done.frame for done in run.done}
    assert last == {0: 2, 1: 2, 2: 0}
    failed, lost, back = sorted(run.notes, key=lambda note: note.event)
    assert failed.message == "b: #1: half a JPEG"
    assert failed.details == {"source": "b", "frame": 1, "file": "#1"}
    assert (lost.event, lost.message) == ("source_back", "c: the source delivers again")
    assert (back.event, back.details) == ("source_lost", {"source": "c"})


def test_a_source_may_have_a_deadline_of_its_own(digits: Prepared) -> None:
    engine = BlockedEngine()
    engine.go.set()
    patient = Script(steps=[SECOND_NS] * 1, in_turn=False, deadline_ms=60_000)
    strict = Script(steps=[SECOND_NS] * 1, in_turn=False)
    run = several(with_engine(digits, engine), patient, strict, deadline_ms=100)
    run()
    assert [done.source for done in run.done] == [0]
    assert [late.source for late in run.late] == [1]


def test_frames_of_several_sources_do_not_mix_in_a_model_that_keeps_state(testdata: Path) -> None:
    model = testdata / "models" / "okay_nabu.tflite"
    tensors = {"type": "images", "path": model, "fps": 10}
    pipeline = Pipeline.model_validate(
        {"sources": {"a": tensors, "b": tensors}, "model": {"path": model}}
    )
    with pytest.raises(ModelError, match=r"okay_nabu.tflite: keeps state.*a pipeline of its own"):
        prepare(pipeline)


# Only every n-th frame.


def test_only_every_nth_frame_is_run_and_the_others_are_counted(digits: Prepared) -> None:
    script = Script(steps=[FRAME] * 10, in_turn=False)
    run = Run(options(script, every=3, deadline_ms=60_000, on_late="run"), digits)()
    seen = {done.frame for done in run.done}
    assert seen <= {2, 5, 8}
    assert len(seen) + run.mailbox.replaced[0] == 3
    assert run.loop.beat().skipped == [7]


# Another rung.


def rung_of(prepared: Prepared, number: int, pipeline: Pipeline) -> Prepared:
    """The same engine on another rung of the ladder."""
    ready = prepared.ready._replace(rung=number)
    return dataclasses.replace(prepared, ready=ready, options=pipeline, costs=Costs())


def runs_of_rungs(done: list[Done]) -> list[tuple[int, int]]:
    """Return each rung in turn, and how many frames in a row were run on it."""
    return [(rung, len(list(run))) for rung, run in itertools.groupby(each.rung for each in done)]


def test_a_change_takes_effect_between_two_frames_and_loses_none(digits: Prepared) -> None:
    script = Script(steps=[FRAME] * 40)

    def told(record: Record) -> None:
        if isinstance(record, Done):
            if record.frame == 14:
                run.loop.change(rung_of(digits, 1, pipeline))
            if record.frame == 29:
                run.loop.change(rung_of(digits, 0, pipeline))
            source.turn.release()

    pipeline = options(script, deadline_ms=60_000, on_late="run")
    run = Run(pipeline, digits, told=told)
    source = cast("ScriptedSource", run.capture.source)
    run()
    assert [done.frame for done in run.done] == list(range(40))
    rungs, lengths = zip(*runs_of_rungs(run.done), strict=True)
    assert rungs == (0, 1, 0)
    # A thread that waits for the next frame already takes that one the old way.
    assert lengths[0] in (15, 16)
    assert lengths[0] + lengths[1] in (30, 31)
    assert source.opened == 1


def test_a_change_to_another_input_makes_other_tensors(digits: Prepared, testdata: Path) -> None:
    path = testdata / "models" / "mobilenet_v1_0.25_128_quant.tflite"
    script = Script(steps=[FRAME] * 20)
    pipeline = options(script, deadline_ms=60_000, on_late="run")
    larger = prepare(options({"type": "synthetic"}, model={"path": path}))

    def told(record: Record) -> None:
        if isinstance(record, Done):
            if record.frame == 9:
                changed = pipeline.model_copy(update={"model": larger.options.model})
                run.loop.change(rung_of(larger, 1, changed))
            source.turn.release()

    run = Run(pipeline, digits, told=told)
    source = cast("ScriptedSource", run.capture.source)
    run()
    assert runs_of_rungs(run.done) in ([(0, 10), (1, 10)], [(0, 11), (1, 9)])
    assert run.done[-1].predictions[0]["index"] > 9


def test_a_source_with_other_options_is_opened_anew_and_its_numbers_go_on(
    digits: Prepared,
) -> None:
    script = Script(steps=[FRAME] * 30)
    other = script.model_copy(update={"deadline_ms": 1000.0})
    pipeline = options(script, deadline_ms=60_000, on_late="run")
    sources: list[ScriptedSource] = []

    def told(record: Record) -> None:
        if isinstance(record, Done):
            if record.frame == 4:
                changed = pipeline.model_copy(update={"source": other})
                run.loop.change(rung_of(digits, 1, changed))
            if record.frame == 20:
                run.loop.stop()
            current = cast("ScriptedSource", run.capture.source)
            if current not in sources:
                sources.append(current)
            current.turn.release()

    run = Run(pipeline, digits, told=told)
    run()
    frames = [done.frame for done in run.done]
    assert frames == list(range(21))
    assert [done.rung for done in run.done][:5] == [0] * 5
    assert run.done[-1].rung == 1
    first, second = sources
    assert (first.closed, second.opened) == (1, 1)


def test_frames_of_sources_that_are_prepared_at_once_do_not_mix(digits: Prepared) -> None:
    sheet = {"type": "images", "path": DIGITS / "held-out.png", "tile": 8, "truth": "list"}
    live = {**sheet, "fps": 2000, "loop": True}
    model = {"path": DIGITS / "digits.tflite", "labels": DIGITS / "labels.txt"}
    alone = {
        done.name: done.predictions for done in Run(options({**sheet, "fps": None}), digits)().done
    }
    pipeline = Pipeline.model_validate(
        {"sources": dict.fromkeys("abcd", live), "model": model, "deadline_ms": 5000}
    )
    run = Run(pipeline, digits, max_frames=3000)()
    assert {done.source for done in run.done} == {0, 1, 2, 3}
    assert all(done.predictions == alone[done.name] for done in run.done)


def test_a_result_from_the_cache_says_whose_frame_it_was_made_for(digits: Prepared) -> None:
    first = Script(steps=[FRAME], in_turn=False)
    second = Script(steps=[FRAME], in_turn=False, openings=(SourceError("comes later"),))
    pipeline = several(digits, first, second, deadline_ms=60_000, cache={"mode": "exact"}).options
    run = Run(pipeline, prepare(pipeline))()
    made, reused = run.done
    assert (made.source, made.cached) == (0, None)
    assert reused.source == 1
    assert reused.cached is not None
    assert (reused.cached[0], reused.cached[3]) == (0, 0)
