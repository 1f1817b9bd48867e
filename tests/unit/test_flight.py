"""The ring of the flight recorder, written by a real recorder and read as the supervisor reads."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from edge import flight
from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.wire import Done, Late
from edge.worker.mailbox import Slot
from edge.worker.recorder import Recorder

if TYPE_CHECKING:
    import mmap
    from struct import Struct

    from edge.worker.prepare import Prepared

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "digits.tflite"


def ring() -> mmap.mmap:
    descriptor, view = flight.new_ring()
    os.close(descriptor)
    return view


def done(frame: int, captured_ns: int = 1000, **fields: Any) -> Done:
    at = captured_ns
    times = (at, at + 100, at + 200, at + 300, at + 400, at + 500)
    return Done(frame, *times, "", None, [])._replace(**fields)


def slot(frame: int, captured_ns: int, *, source: int = 0) -> Slot:
    return Slot(
        np.zeros(1),
        cast("Prepared", None),
        source=source,
        frame=frame,
        captured_ns=captured_ns,
        retrieved_ns=captured_ns + 10,
        prepared_ns=captured_ns + 20,
    )


@pytest.mark.parametrize(
    "layout", [flight.RECORD, flight.FRAME, flight.SAMPLE, flight.PAUSE], ids=lambda s: s.format
)
def test_every_kind_of_record_fills_its_place(layout: Struct) -> None:
    assert layout.size == flight.RECORD_BYTES


def test_hands_and_records_do_not_overlap() -> None:
    assert flight.HAND.size + flight.NATIVE_ID.size <= flight.HAND_BYTES
    assert flight.HANDS_AT + flight.HANDS * flight.HAND_BYTES <= flight.RECORDS_AT


def test_an_empty_ring_holds_nothing() -> None:
    assert flight.read(ring()) == flight.Recording([], [], [], [], [])


def test_a_frame_is_read_as_it_was_told() -> None:
    shared = ring()
    recorder = Recorder(shared, backlog="two")
    told = done(7, source=2, batch=4, rung=1, revision=258)
    recorder.done(told, captor=1, runner=3, waiting=1)
    (frame,) = flight.read(shared).frames
    assert frame == (flight.ANSWERED, 2, 1, 4, 1, 3, 1, 3, 2, *told[:7])
    assert frame.stages_ns == told.stages_ns
    assert frame.total_ns == 500


def test_cached_and_late_frames_are_told_apart() -> None:
    shared = ring()
    recorder = Recorder(shared)
    recorder.done(done(1, cached=(0, 5, 1.0, 0)), 0, 0, 0)
    late = Late(2, 1000, 1100, 1200, 1300)
    recorder.done(late, 0, 0, 0)
    cached, dropped = flight.read(shared).frames
    assert (cached.what, dropped.what) == (flight.CACHED, flight.LATE)
    assert dropped.stages_ns == late.stages_ns
    assert dropped.total_ns == 300


def test_the_oldest_make_room_for_the_newest() -> None:
    shared = ring()
    recorder = Recorder(shared)
    count = flight.CAPACITY * 2 + 5
    for frame in range(count):
        recorder.done(done(frame), 0, 0, 0)
    numbers = [frame.number for frame in flight.read(shared).frames]
    assert numbers == list(range(count - flight.CAPACITY, count))


def test_a_record_that_was_not_written_to_its_end_is_left_out() -> None:
    shared = ring()
    recorder = Recorder(shared)
    for frame in range(flight.CAPACITY + 2):
        recorder.done(done(frame), 0, 0, 0)
    # Killed in the middle of the next: its beginning is there, its end is the old record's.
    at = flight.RECORDS_AT + 2 * flight.RECORD_BYTES
    shared[at : at + 8] = (flight.CAPACITY + 3).to_bytes(8, "little")
    numbers = [frame.number for frame in flight.read(shared).frames]
    assert numbers == list(range(3, flight.CAPACITY + 2))


def test_what_is_read_while_it_is_written_is_whole() -> None:
    shared = ring()
    recorder = Recorder(shared)
    stop = threading.Event()

    def write() -> None:
        frame = 0
        while not stop.is_set():
            frame += 1
            recorder.done(done(frame, captured_ns=frame), 0, 0, 0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        newest = 0
        end = time.monotonic() + 20
        while newest < 3 * flight.CAPACITY and time.monotonic() < end:
            frames = flight.read(shared).frames
            for frame in frames:
                assert frame.captured_ns == frame.number
                assert frame.total_ns == 500
            numbers = [frame.number for frame in frames]
            assert numbers == sorted(numbers)
            newest = max(numbers, default=0)
    finally:
        stop.set()
        writer.join()
    assert newest >= 3 * flight.CAPACITY


def test_the_frame_in_hand_is_known_with_its_stage() -> None:
    shared = ring()
    recorder = Recorder(shared)
    one = slot(5, 1000, source=1)
    recorder.capturing(one)
    (hand,) = flight.read(shared).hands
    assert hand.native_id == threading.get_native_id()
    assert (hand.number, hand.source, hand.stage) == (5, 1, flight.CAPTURE)
    assert (hand.captured_ns, hand.taken_ns) == (1000, 0)
    recorder.marks[one.mark] = flight.PREPROCESS
    assert flight.read(shared).hands[0].stage == flight.PREPROCESS
    recorder.inferring(one, 1050)
    (hand,) = flight.read(shared).hands
    assert hand[2:] == (5, flight.INFERENCE, 1, 1000, 1010, 1020, 1050)
    recorder.resting()
    assert flight.read(shared).hands[0].stage == flight.RESTING


def test_each_thread_has_a_hand_of_its_own() -> None:
    shared = ring()
    recorder = Recorder(shared)
    recorder.inferring(slot(1, 1000), 1050)
    other = threading.Thread(target=lambda: recorder.capturing(slot(2, 2000)))
    other.start()
    other.join()
    hands = flight.read(shared).hands
    assert [(hand.number, hand.stage) for hand in hands] == [
        (1, flight.INFERENCE),
        (2, flight.CAPTURE),
    ]
    assert hands[0].native_id != hands[1].native_id


def test_the_kernel_is_asked_after_an_odd_frame_and_else_now_and_then() -> None:
    shared = ring()
    recorder = Recorder(shared)
    recorder.resting()  # the first look
    for frame in range(20):
        recorder.done(done(frame), 0, 0, 0)
        recorder.resting()
    assert len(flight.read(shared).samples) == 1
    recorder.done(done(20, decoded_ns=5_000_000), 0, 0, 0)
    recorder.resting()
    first, second = flight.read(shared).samples
    assert second.at_ns > first.at_ns
    assert second.minor_faults >= first.minor_faults > 0


def test_waiting_for_a_core_is_counted_where_the_kernel_tells_it() -> None:
    shared = ring()
    recorder = Recorder(shared)
    recorder.resting()
    (sample,) = flight.read(shared).samples
    told = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").exists()
    assert (sample.waited_ns >= 0) == told


def test_the_engines_own_threads_are_watched_and_pythons_are_not() -> None:
    gc.collect()  # engines that other tests left, whose threads would end meanwhile
    shared = ring()
    recorder = Recorder(shared)
    recorder.watch_engine()
    recorder.resting()
    before = flight.read(shared).samples[-1]
    engine = Engine(DIGITS, choose("litert", 2), threads=2)
    engine.run(np.zeros((1, 8, 8, 1), np.int8))
    idle = threading.Event()
    ours = threading.Thread(target=idle.wait)
    ours.start()
    recorder.watch_engine()
    recorder.done(done(1, decoded_ns=10**9), 0, 0, 0)
    recorder.resting()
    after = flight.read(shared).samples[-1]
    idle.set()
    ours.join()
    assert len(after.engine_waited_ns) - len(before.engine_waited_ns) == 1  # the pool's second


def test_garbage_collections_are_noted() -> None:
    shared = ring()
    recorder = Recorder(shared)
    gc.callbacks.append(recorder.collecting)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(recorder.collecting)
    pause = flight.read(shared).pauses[-1]
    assert pause.generation == 2
    assert pause.ended_ns > pause.began_ns > 0


def test_a_shadow_pass_is_in_hand_and_then_written_down() -> None:
    shared = ring()
    recorder = Recorder(shared)
    recorder.inferring(slot(5, 1000, source=1), 1050)
    recorder.shadowing(slot(5, 1000, source=1), 2000)
    (hand,) = flight.read(shared).hands
    assert hand[2:] == (5, flight.SHADOW, 1, 2000, 0, 0, 0)
    recorder.shadowed(slot(5, 1000, source=1), 2000, 2500)
    assert flight.read(shared).shadows == [(hand.thread, 1, 5, 2000, 2500)]
