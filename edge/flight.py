"""The flight recorder's ring: the newest frames of a worker, in memory that outlives the worker.

The supervisor makes it and hands it to the worker, which alone writes it; the supervisor reads
it while the worker lives, or after it was killed in the middle of a record.
"""

from __future__ import annotations

import mmap
import os
from struct import Struct
from typing import NamedTuple

CAPACITY = 1024  # records; of a camera with 30 frames a second the last 15 to 17 seconds
RECORD_BYTES = 128
HANDS = 32  # threads whose frame in hand is known; more share the last place
HAND_BYTES = 64
HANDS_AT = 64
RECORDS_AT = 4096
SIZE = RECORDS_AT + CAPACITY * RECORD_BYTES
ENGINE_THREADS = 8  # of the engine's own, as many as a record has room for
UNKNOWN = -1

# A record begins and ends with its number, counted from 1: where the two differ it was not
# written to its end. `kind` follows the first. Little-endian, without gaps but those written as x.
RECORD = Struct("<QB111xQ")
FRAME = Struct("<QBBBBHBBHHB3xq6q40xQ")
SAMPLE = Struct("<QBBB5xqqIII4x8q8xQ")
PAUSE = Struct("<QBB6xqq88xQ")
SHADOW_PASS = Struct("<QBBB5x3q80xQ")
IS_FRAME, IS_SAMPLE, IS_PAUSE, IS_SHADOW_PASS = 1, 2, 3, 4

HAND = Struct("<qBB6x4q")
HAND_TAKEN = Struct("<qBB6x2q")  # its beginning: what is known when a frame was taken
STAGE_AT = 8
NATIVE_ID, NATIVE_ID_AT = Struct("<i"), HAND.size
RESTING, CAPTURE, PREPROCESS, INFERENCE, DECODE, SHADOW = range(6)
STAGES = ("", "capture", "preprocess", "inference", "decode", "shadow")
ANSWERED, CACHED, LATE = range(3)


class Frame(NamedTuple):
    """A frame that was answered, or dropped for being late; times are monotonic nanoseconds."""

    what: int
    """`ANSWERED`, `CACHED` (no forward pass ran) or `LATE` (dropped before it)."""
    source: int
    rung: int
    batch: int
    captor: int
    """The thread that prepared it; an index of the worker's threads, as in `Hand`."""
    runner: int
    """The thread that made its forward pass, or dropped it."""
    waiting: int
    """Frames in the mailbox when it was done."""
    backlog: int
    """Records that the supervisor had not taken then."""
    revision: int
    """Which of the models that the pipeline has had ran it, modulo 256."""
    number: int
    captured_ns: int
    retrieved_ns: int
    prepared_ns: int
    taken_ns: int
    inferred_ns: int
    """Of a late frame the same as `taken_ns`, as is `decoded_ns`."""
    decoded_ns: int

    @property
    def way(self) -> tuple[int, int]:
        """What ran it: model and rung."""
        return self.revision, self.rung

    @property
    def stages_ns(self) -> dict[str, int]:
        """How long each stage took that it went through; together they are the whole way."""
        ended = {
            "capture": self.retrieved_ns - self.captured_ns,
            "preprocess": self.prepared_ns - self.retrieved_ns,
            "wait": self.taken_ns - self.prepared_ns,
        }
        if self.what != LATE:
            ended["inference"] = self.inferred_ns - self.taken_ns
            ended["decode"] = self.decoded_ns - self.inferred_ns
        return ended

    @property
    def total_ns(self) -> int:
        """From capture to the result, or until it was dropped."""
        return self.decoded_ns - self.captured_ns


class Sample(NamedTuple):
    """What the kernel had counted for a thread until a moment; counts are since its start."""

    thread: int
    at_ns: int
    waited_ns: int
    """Time it could have run and had no core (schedstat); `UNKNOWN` where the kernel is silent."""
    pushed_off: int
    """Involuntary context switches."""
    major_faults: int
    """Pages that had to be read from a disk."""
    minor_faults: int
    engine_waited_ns: tuple[int, ...]
    """The same as `waited_ns` of the engine's own threads."""


class Pause(NamedTuple):
    """A garbage collection: no thread of the worker ran Python meanwhile."""

    generation: int
    began_ns: int
    ended_ns: int


class ShadowPass(NamedTuple):
    """The model in shadow answered a frame that had its result already; nobody else ran."""

    thread: int
    source: int
    number: int
    began_ns: int
    ended_ns: int


class Hand(NamedTuple):
    """The frame that a thread has in hand; a time is 0 where that stage has not ended."""

    thread: int
    native_id: int
    number: int
    stage: int
    """`RESTING` (there is none), `CAPTURE`, `PREPROCESS`, `INFERENCE`, `DECODE`, or `SHADOW`."""
    source: int
    captured_ns: int
    """In the stage `SHADOW`, which is after the result, the only time: when that began."""
    retrieved_ns: int
    prepared_ns: int
    taken_ns: int


class Recording(NamedTuple):
    """What a ring held at one moment, oldest first."""

    frames: list[Frame]
    samples: list[Sample]
    pauses: list[Pause]
    hands: list[Hand]
    """Of each thread that had a frame in hand at any time."""
    shadows: list[ShadowPass]


def new_ring() -> tuple[int, mmap.mmap]:
    """Return an empty ring: a descriptor to hand to a worker, and our own view of it."""
    descriptor = os.memfd_create("edge-flight", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SIZE)
    return descriptor, mmap.mmap(descriptor, SIZE)


def read(ring: mmap.mmap) -> Recording:
    """Read a ring whose worker may be writing it, or was killed while it did.

    A record that was not written to its end, or changed between two looks, is left out.
    """
    look, again = ring[:], ring[:]
    numbered = []
    for at in range(RECORDS_AT, SIZE, RECORD_BYTES):
        record = look[at : at + RECORD_BYTES]
        first, kind, last = RECORD.unpack(record)
        if first and first == last and record == again[at : at + RECORD_BYTES]:
            numbered.append((first, kind, record))
    numbered.sort()
    found = Recording([], [], [], [], [])
    for _, kind, record in numbered:
        if kind == IS_FRAME:
            found.frames.append(Frame(*FRAME.unpack(record)[2:-1]))
        elif kind == IS_SAMPLE:
            _, _, thread, engine, at_ns, waited_ns, *counts = SAMPLE.unpack(record)
            pushed_off, major, minor, *engine_ns, _ = counts
            waits = (waited_ns, pushed_off, major, minor, tuple(engine_ns[:engine]))
            found.samples.append(Sample(thread, at_ns, *waits))
        elif kind == IS_PAUSE:
            found.pauses.append(Pause(*PAUSE.unpack(record)[2:-1]))
        elif kind == IS_SHADOW_PASS:
            found.shadows.append(ShadowPass(*SHADOW_PASS.unpack(record)[2:-1]))
    for thread in range(HANDS):
        at = HANDS_AT + thread * HAND_BYTES
        number, stage, source, captured_ns, taken_ns, *between = HAND.unpack_from(again, at)
        (native_id,) = NATIVE_ID.unpack_from(again, at + NATIVE_ID_AT)
        if native_id:
            times = (captured_ns, *between, taken_ns)
            found.hands.append(Hand(thread, native_id, number, stage, source, *times))
    return found
