"""A recording as Chrome trace events, which Perfetto's and Chrome's viewers open.

The format: "Trace Event Format", by the authors of Chrome's trace viewer, JSON object form.
Times are microseconds from the first capture.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge import flight
from edge.supervisor.story import is_late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.flight import Frame, Recording
    from edge.supervisor.sensor_log import Felt
    from edge.supervisor.story import Facts, Key

PROCESS = 1
COLLECTIONS = 9_000  # the track of garbage collections
THREADS = 1_000  # tracks of the worker's threads come from here on
LANES = 100  # tracks of a source: frames that overlap in time lie in lanes of their own
UNTIL_THE_END = {
    flight.CAPTURE: "capture",
    flight.PREPROCESS: "capture and preprocess",
    flight.INFERENCE: "inference",
    flight.DECODE: "inference and decode",
    flight.SHADOW: "shadow",
}
"""What a frame in hand went through since the last time that was noted, by its stage."""
Event = dict[str, Any]


def trace_events(
    recording: Recording, facts: Facts, felt: Sequence[Felt], offending: Key | None
) -> list[Event]:
    """Return all events, in the order of their times, with the offending frame marked."""
    frames = sorted(recording.frames, key=lambda frame: frame.captured_ns)
    hands = [hand for hand in recording.hands if hand.stage != flight.RESTING]
    starts = [frame.captured_ns for frame in frames] + [hand.captured_ns for hand in hands]
    origin_ns = min(starts, default=facts.end_ns)
    writer = _Writer(facts, origin_ns, offending)
    writer.frames(frames)
    writer.threads(frames)
    for hand in hands:
        writer.in_hand(hand)
    for pause in recording.pauses:
        if pause.began_ns >= origin_ns:
            name = f"generation {pause.generation}"
            writer.slice(COLLECTIONS, name, pause.began_ns, pause.ended_ns)
    for shadow in recording.shadows:
        if shadow.began_ns >= origin_ns:
            name = f"shadow of frame {shadow.number}"
            writer.slice(THREADS + shadow.thread, name, shadow.began_ns, shadow.ended_ns)
    writer.samples(recording.samples)
    for each in felt:
        writer.felt(each)
    return writer.all()


class _Writer:
    def __init__(self, facts: Facts, origin_ns: int, offending: Key | None) -> None:
        self._facts = facts
        self._origin_ns = origin_ns
        self._offending = offending
        self._events: list[Event] = []
        self._tracks: set[int] = set()
        self._lane_of: dict[Key, int] = {}
        self._lane_ends_ns: dict[int, list[int]] = {}

    def all(self) -> list[Event]:
        """Return what was written, the names of process and tracks before it."""
        facts = self._facts
        names = [
            {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": facts.pipeline}},
            {
                "ph": "M",
                "pid": PROCESS,
                "name": "process_labels",
                "args": {"labels": ", ".join(facts.about.values())},
            },
        ]
        for track in sorted(self._tracks):
            about = {"ph": "M", "pid": PROCESS, "tid": track}
            named = {"name": "thread_name", "args": {"name": self._track_name(track)}}
            order = {"name": "thread_sort_index", "args": {"sort_index": track}}
            names += [about | named, about | order]
        # At one moment the longer slice comes first: it holds the others.
        self._events.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
        return [*names, *self._events]

    def _track_name(self, track: int) -> str:
        if track == COLLECTIONS:
            return "garbage collection"
        if track >= THREADS:
            return f"worker thread {track - THREADS}"
        source, lane = divmod(track, LANES)
        return f"frames of {self._facts.sources[source - 1]}" + (
            f", lane {lane + 1}" if lane else ""
        )

    def _add(self, phase: str, name: str, at_ns: int, **fields: Any) -> None:
        event = {"ph": phase, "name": name, "pid": PROCESS, "ts": self._us(at_ns), **fields}
        self._events.append(event)

    def _us(self, at_ns: int) -> float:
        return (at_ns - self._origin_ns) / 1000

    def slice(self, track: int, name: str, began_ns: int, ended_ns: int, **fields: Any) -> None:
        """A piece of work on a track, begun and ended ("complete" event)."""
        self._tracks.add(track)
        duration_us = (ended_ns - began_ns) / 1000
        self._add("X", name, began_ns, tid=track, dur=duration_us, cat="frame", **fields)

    def counter(self, name: str, at_ns: int, **values: float) -> None:
        """A step of a curve."""
        self._add("C", name, at_ns, args=values)

    def frames(self, frames: Sequence[Frame]) -> None:
        """Each frame from capture to result on a track of its source, its stages within."""
        for frame in frames:
            key = (frame.source, frame.number)
            track = self._lane(frame.source, frame.captured_ns, frame.decoded_ns)
            self._lane_of[key] = track
            missed = is_late(frame, self._facts)
            name = f"frame {frame.number}"
            marked: Event = {}
            if key == self._offending:
                name, marked = f"{name}: the offending one", {"cname": "terrible"}
            elif missed:
                name, marked = f"{name}: missed", {"cname": "bad"}
            about = {
                "frame": frame.number,
                "source": self._facts.sources[frame.source],
                "rung": frame.rung,
                "batch": frame.batch,
                "cached": frame.what == flight.CACHED,
                "latency_ms": frame.total_ns / 1e6,
                "missed": missed,
            }
            self.slice(track, name, frame.captured_ns, frame.decoded_ns, args=about, **marked)
            began_ns = frame.captured_ns
            for stage, spent_ns in frame.stages_ns.items():
                self.slice(track, stage, began_ns, began_ns + spent_ns)
                began_ns += spent_ns
            self._curves(frame)
            if missed:
                self._miss(frame, track, offending=key == self._offending)

    def _lane(self, source: int, begun_ns: int, ended_ns: int) -> int:
        """Return the first track of a source that is free by then."""
        ends = self._lane_ends_ns.setdefault(source, [])
        free = [lane for lane, end_ns in enumerate(ends) if end_ns <= begun_ns]
        lane = free[0] if free else min(len(ends), LANES - 1)
        ends[lane : lane + 1] = [ended_ns]
        return (source + 1) * LANES + lane

    def _curves(self, frame: Frame) -> None:
        source = self._facts.sources[frame.source]
        latency = {
            "latency": frame.total_ns / 1e6,
            "deadline": self._facts.deadlines_ms[frame.source],
        }
        self.counter(f"latency of {source} (ms)", frame.decoded_ns, **latency)
        queues = {"mailbox": frame.waiting, "for the supervisor": frame.backlog}
        self.counter("waiting", frame.decoded_ns, **queues)

    def _miss(self, frame: Frame, track: int, *, offending: bool) -> None:
        late_ms = frame.total_ns / 1e6 - self._facts.deadlines_ms[frame.source]
        name = f"frame {frame.number} missed by {late_ms:.3f} ms"
        # The offending frame's mark runs through all tracks ("g": global scope).
        scope = {"s": "g" if offending else "t", "tid": track}
        due_ns = frame.captured_ns + round(self._facts.deadlines_ms[frame.source] * 1e6)
        self._add("i", name, max(min(due_ns, frame.decoded_ns), frame.captured_ns), **scope)

    def threads(self, frames: Sequence[Frame]) -> None:
        """The worker's threads at work, and the frame's way through them as a flow."""
        passes = set()
        for frame in frames:
            captor, runner = THREADS + frame.captor, THREADS + frame.runner
            name = f"frame {frame.number}"
            source = self._facts.sources[frame.source]
            self.slice(captor, f"preprocess {name}", frame.retrieved_ns, frame.prepared_ns)
            if frame.what != flight.ANSWERED:
                continue
            one_pass = (runner, frame.taken_ns, frame.inferred_ns)
            if one_pass not in passes:  # a batch makes one for several frames
                passes.add(one_pass)
                self.slice(runner, f"inference {name}", frame.taken_ns, frame.inferred_ns)
            flow = {"cat": "way", "id": f"{source} {frame.number}"}
            lane = self._lane_of[frame.source, frame.number]
            self._add("s", "way", frame.captured_ns, tid=lane, **flow)
            self._add("t", "way", frame.taken_ns, tid=runner, **flow)
            self._add("f", "way", frame.inferred_ns, tid=lane, bp="e", **flow)

    def in_hand(self, hand: flight.Hand) -> None:
        """A frame that a thread had in hand at the end of the recording."""
        stage = flight.STAGES[hand.stage]
        track = self._lane(hand.source, hand.captured_ns, self._facts.end_ns)
        marked = (hand.source, hand.number) == self._offending
        colour = {"cname": "terrible"} if marked else {}
        name = f"frame {hand.number}: in its {stage} stage at the end"
        args = {"frame": hand.number, "stage": stage}
        self.slice(track, name, hand.captured_ns, self._facts.end_ns, args=args, **colour)
        ends = [hand.captured_ns, hand.retrieved_ns, hand.prepared_ns, hand.taken_ns]
        known = [*(end for end in ends if end), self._facts.end_ns]
        names = [*("capture", "preprocess", "wait")[: len(known) - 2], UNTIL_THE_END[hand.stage]]
        for each, (began_ns, ended_ns) in zip(names, pairwise(known), strict=True):
            self.slice(track, each, began_ns, ended_ns)
        if marked:
            scope = {"s": "g", "tid": track}
            self._add(
                "i", f"the worker ended with frame {hand.number}", self._facts.end_ns, **scope
            )

    def samples(self, samples: Sequence[flight.Sample]) -> None:
        """What the kernel counted for each thread, as curves of what was new each time."""
        before: dict[int, flight.Sample] = {}
        for sample in samples:
            last, before[sample.thread] = before.get(sample.thread), sample
            if last is None or sample.at_ns < self._origin_ns:
                continue
            thread = f"thread {sample.thread}"
            if flight.UNKNOWN not in (last.waited_ns, sample.waited_ns):
                waited_ms = (sample.waited_ns - last.waited_ns) / 1e6
                self.counter(f"{thread} waited for a core (ms)", sample.at_ns, waited=waited_ms)
            pushed_off = sample.pushed_off - last.pushed_off
            self.counter(f"{thread} pushed off its core", sample.at_ns, times=pushed_off)
            major, minor = (
                sample.major_faults - last.major_faults,
                sample.minor_faults - last.minor_faults,
            )
            self.counter(f"{thread} page faults", sample.at_ns, from_disk=major, other=minor)

    def felt(self, felt: Felt) -> None:
        """The sensors, as curves."""
        if felt.at_ns < self._origin_ns:
            return
        reading = felt.reading
        if reading.clock_mhz:
            cores = {f"core {core}": mhz for core, mhz in enumerate(reading.clock_mhz)}
            self.counter("clock (MHz)", felt.at_ns, **cores)
        if reading.temperature_c is not None:
            self.counter("temperature (C)", felt.at_ns, hottest=reading.temperature_c)
        self.counter("throttled", felt.at_ns, flags=len(reading.throttled))
