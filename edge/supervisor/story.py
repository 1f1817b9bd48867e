"""What a trace tells: the offending frame, what is usual, its neighbours, what the device felt."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from edge import flight
from edge.latency.explain import Evidence, explain, ms
from edge.messages import STAGES
from edge.supervisor.kernel_counts import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.flight import Frame, Hand, Pause, Recording, ShadowPass
    from edge.supervisor.sensor_log import Felt

BEFORE, AFTER = 12, 8  # neighbours told in words
FEW = 8  # frames in time; with fewer, what is usual is told from all frames
NEAR_NS = 1_500_000_000  # sensors are read once a second
WAY = ("capture", "preprocess", "wait", "inference", "decode")
UNTIL_THE_END = {flight.CAPTURE, flight.INFERENCE, flight.SHADOW}
WHAT = {flight.ANSWERED: "answered", flight.CACHED: "cached", flight.LATE: "dropped late"}

Why = Literal["deadline_missed", "worker_died", "asked_for"]
Key = tuple[int, int]
"""Of a frame: the index of its source, and its number there."""


class Part(BaseModel):
    """A part of the story as the trace file keeps it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Row(Part):
    """One frame, and what its threads met meanwhile."""

    frame: int
    source: str
    rung: int = 0
    batch: int = 1
    what: str = Field(max_length=40)
    """`answered`, `cached`, `dropped late`; `in hand` or `in shadow` when the worker ended."""
    at_ms: float
    """When it was captured, from the capture of the frame the story is about."""
    stages_ms: dict[str, float]
    """Each stage it went through; the last may be unfinished."""
    total_ms: float
    missed: bool
    waiting: int = 0
    """Frames in the mailbox when it was done."""
    backlog: int = 0
    waited_ms: float | None = None
    """How much later it was, at the most, because its threads waited for a core; None where
    that is not known."""
    pushed_off: int | None = None
    major_faults: int | None = None
    minor_faults: int | None = None
    counted_ms: float | None = None
    """How long the kernel was not looked at, around the frame: what the counts are about."""
    collected_ms: float = 0
    shadow_ms: float = 0
    """How long the model in shadow had the engine meanwhile."""


class Feeling(Part):
    """The sensors at a moment."""

    at_ms: float
    temperature_c: float | None
    throttled: list[str]
    clock_mhz: list[int]


class Story(Part):
    """All that `edge trace` prints."""

    format: Literal["edge-runtime trace"] = "edge-runtime trace"
    version: Literal[1] = 1
    device: str
    boot: str
    pipeline: str
    at: str
    """When it was written: UTC in ISO 8601, by a clock that may not have been set."""
    clock_synced: bool
    about: dict[str, str]
    """Model, engine and the like, for people."""
    why: Why
    sentence: str
    causes: list[str]
    deadline_ms: float
    offending: int | None
    """Which of `frames` it is about; None when nothing was wrong."""
    frames: list[Row]
    usual_ms: dict[str, float]
    usual_of: int
    """How many frames that was told from."""
    felt: list[Feeling]
    recorded: int
    """Frames in the whole trace."""


class Facts(NamedTuple):
    """What a story has from elsewhere than the recording."""

    device: str
    boot: str
    pipeline: str
    at: str
    clock_synced: bool
    about: dict[str, str]
    sources: list[str]
    deadlines_ms: list[float]
    """Of each source."""
    end_ns: int
    """When the recording was read."""


def tell(
    recording: Recording,
    facts: Facts,
    felt: Sequence[Felt],
    *,
    why: Why,
    offending: Key | None = None,
    how: str = "",
) -> Story:
    """Make the story of a recording that has frames, or a frame in hand.

    `offending` is the frame that missed its deadline, `how` how the worker ended.
    """
    teller = _Teller(recording, facts, felt)
    if why == "worker_died":
        return teller.of_a_death(how)
    if offending is not None and offending in teller.frames:
        return teller.of_a_miss(teller.frames[offending], why)
    return teller.of_nothing(why)


def is_late(frame: Frame, facts: Facts) -> bool:
    """Whether a frame missed its deadline."""
    return frame.what == flight.LATE or frame.total_ns > facts.deadlines_ms[frame.source] * 1e6


def furthest(hands: Sequence[Hand]) -> Hand | None:
    """Return the hand whose frame was furthest on its way; of several the one that came first."""
    busy = [hand for hand in hands if hand.stage != flight.RESTING]
    return max(busy, key=lambda hand: (hand.stage, -hand.captured_ns), default=None)


class _Teller:
    def __init__(self, recording: Recording, facts: Facts, felt: Sequence[Felt]) -> None:
        self._recording = recording
        self._facts = facts
        self._felt = felt
        self._kernel = Kernel(recording.samples)
        ordered = sorted(recording.frames, key=lambda frame: frame.captured_ns)
        self.frames = {(frame.source, frame.number): frame for frame in ordered}

    def of_a_miss(self, frame: Frame, why: Why) -> Story:
        facts, origin_ns = self._facts, frame.captured_ns
        row = self._row(frame, origin_ns)
        usual_ms, usual_of = self._usual(frame.source, frame.way)
        before = [f for f in self._felt if f.at_ns <= frame.decoded_ns + NEAR_NS]
        near = [f.reading for f in before if f.at_ns >= origin_ns - NEAR_NS]
        clocks = [max(f.reading.clock_mhz) for f in self._felt if f.reading.clock_mhz]
        lowest = min((max(each.clock_mhz) for each in near if each.clock_mhz), default=None)
        explained = explain(
            Evidence(
                frame=frame.number,
                deadline_ms=facts.deadlines_ms[frame.source],
                stages_ms=row.stages_ms,
                usual_ms=usual_ms,
                usual_waited_ms=self._usually_waited_ms(frame, sum(usual_ms.values())),
                dropped=frame.what == flight.LATE,
                waited_ms=row.waited_ms,
                major_faults=row.major_faults,
                counted_ms=row.counted_ms,
                collected_ms=row.collected_ms,
                shadow_ms=row.shadow_ms,
                ahead_ms=self._ahead(frame),
                throttled=tuple(dict.fromkeys(word for each in near for word in each.throttled)),
                clock_mhz=lowest,
                usual_clock_mhz=round(median(clocks)) if clocks else None,
            )
        )
        return self._story(
            why,
            explained.sentence,
            self._neighbours(frame),
            row,
            causes=explained.causes,
            usual=(usual_ms, usual_of),
            origin_ns=origin_ns,
        )

    def of_a_death(self, how: str) -> Story:
        in_hand = [each for each in self._recording.hands if each.stage != flight.RESTING]
        hand = furthest(in_hand)
        worker = f"the worker ended ({how})"
        if hand is None:
            return self.of_nothing("worker_died", f"{worker} with no frame in hand")
        origin_ns = hand.captured_ns
        rows = [self._in_hand(each, origin_ns) for each in in_hand]
        row = rows[in_hand.index(hand)]
        stage = flight.STAGES[hand.stage]
        usual_ms, usual_of = self._usual(hand.source)
        usually = f", which usually takes {ms(usual_ms[stage])}" if stage in usual_ms else ""
        begun = f" for {ms(row.stages_ms[stage])}" if stage in row.stages_ms else ""
        done = list(self.frames.values())[-BEFORE:]
        return self._story(
            "worker_died",
            f"{worker} with frame {hand.number} in its {stage} stage{begun}{usually}",
            [*(self._row(frame, origin_ns) for frame in done), *rows],
            row,
            usual=(usual_ms, usual_of),
            origin_ns=origin_ns,
        )

    def of_nothing(self, why: Why, sentence: str = "") -> Story:
        newest = list(self.frames.values())[-BEFORE - AFTER :]
        origin_ns = newest[-1].captured_ns if newest else self._facts.end_ns
        usual = self._usual(newest[-1].source, newest[-1].way) if newest else ({}, 0)
        missed = sum(is_late(frame, self._facts) for frame in self.frames.values())
        count = f"{missed} of the last {len(self.frames)} frames missed their deadline"
        rows = [self._row(frame, origin_ns) for frame in newest]
        return self._story(why, sentence or count, rows, None, usual=usual, origin_ns=origin_ns)

    def _story(
        self,
        why: Why,
        sentence: str,
        rows: list[Row],
        row: Row | None,
        *,
        usual: tuple[dict[str, float], int],
        origin_ns: int,
        causes: list[str] | None = None,
    ) -> Story:
        facts = self._facts
        source = facts.sources.index(row.source) if row is not None else 0
        return Story(
            device=facts.device,
            boot=facts.boot,
            pipeline=facts.pipeline,
            at=facts.at,
            clock_synced=facts.clock_synced,
            about=facts.about,
            why=why,
            sentence=sentence,
            causes=causes or [],
            deadline_ms=facts.deadlines_ms[source],
            offending=None if row is None else rows.index(row),
            frames=rows,
            usual_ms=usual[0],
            usual_of=usual[1],
            felt=[_feeling(felt, origin_ns) for felt in self._felt[-AFTER - BEFORE :]],
            recorded=len(self.frames),
        )

    def _neighbours(self, frame: Frame) -> list[Row]:
        ordered = list(self.frames.values())
        at = ordered.index(frame)
        near = ordered[max(at - BEFORE, 0) : at + AFTER + 1]
        return [self._row(each, frame.captured_ns) for each in near]

    @cache  # noqa: B019  lives no longer than its story is told
    def _usual(
        self, source: int, way: tuple[int, int] | None = None
    ) -> tuple[dict[str, float], int]:
        """Return what each stage usually takes, and of how many frames that is the median.

        Of forward passes of a source, one way where one is named, that were in time; of all
        where those are few.
        """
        same = [
            frame
            for frame in self.frames.values()
            if frame.what == flight.ANSWERED and frame.source == source and way in {None, frame.way}
        ]
        in_time = [frame for frame in same if not is_late(frame, self._facts)]
        frames = in_time if len(in_time) >= FEW else same
        if not frames:
            return {}, 0
        stages = [frame.stages_ns for frame in frames]
        usual = {stage: median(each[stage] for each in stages) for stage in STAGES}
        return {stage: _ms(spent_ns) for stage, spent_ns in usual.items()}, len(frames)

    def _usually_waited_ms(self, frame: Frame, usual_ms: float) -> float:
        """Return how much of a frame's usual time waiting for a core may be.

        No more than it takes longer than the fastest did.
        """
        same = [each for each in self.frames.values() if each.source == frame.source]
        passes = [each for each in same if each.what == flight.ANSWERED and each.way == frame.way]
        between = [b.captured_ns - a.captured_ns for a, b in pairwise(same)]
        if not between or not passes:
            return 0.0
        waits_ms = self._kernel.anyway.get(frame.runner, 0.0) * median(between) / 1e6
        fastest_ms = _ms(min(each.total_ns for each in passes))
        return round(max(min(waits_ms, usual_ms - fastest_ms), 0.0), 3)

    def _ahead(self, frame: Frame) -> dict[str, float]:
        """Return how long the engine was busy with others while a frame waited, by source."""
        ahead: dict[str, float] = {}
        passes = set()
        for other in self.frames.values():
            began, ended = other.taken_ns, other.inferred_ns
            busy_ns = min(ended, frame.taken_ns) - max(began, frame.prepared_ns)
            if other is frame or busy_ns <= 0 or (began, ended) in passes:
                continue
            passes.add((began, ended))  # a batch makes one pass for several frames
            own = other.source == frame.source
            who = f"frame {other.number}" if own else self._facts.sources[other.source]
            ahead[who] = ahead.get(who, 0) + _ms(busy_ns)
        return ahead

    def _row(self, frame: Frame, origin_ns: int) -> Row:
        kernel = self._kernel
        begun_ns, ended_ns = frame.captured_ns, frame.decoded_ns
        if frame.captor == frame.runner:
            met = kernel.between(frame.runner, begun_ns, ended_ns)
        else:
            prepared = kernel.between(frame.captor, begun_ns, frame.prepared_ns)
            ran = kernel.between(frame.runner, frame.prepared_ns, ended_ns)
            met = prepared.plus(ran) if prepared and ran else ran or prepared
        between = (begun_ns, ended_ns)
        collected = sum(_common_ns(between, p) for p in self._recording.pauses)
        shadow = sum(_common_ns(between, s) for s in self._recording.shadows)
        waited_ns = met.waited_ns if met else None
        usual_ms, _ = self._usual(frame.source, frame.way)
        over_ms = round(_ms(frame.total_ns) - sum(usual_ms.values()), 3)
        return Row(
            frame=frame.number,
            source=self._facts.sources[frame.source],
            rung=frame.rung,
            batch=frame.batch,
            what=WHAT[frame.what],
            at_ms=_ms(begun_ns - origin_ns),
            stages_ms={stage: _ms(spent_ns) for stage, spent_ns in frame.stages_ns.items()},
            total_ms=_ms(frame.total_ns),
            missed=is_late(frame, self._facts),
            waiting=frame.waiting,
            backlog=frame.backlog,
            # The kernel was looked at before and after, so it may have waited beside the frame.
            waited_ms=None if waited_ns is None else max(min(_ms(waited_ns), over_ms), 0),
            pushed_off=met.pushed_off if met else None,
            major_faults=met.major_faults if met else None,
            minor_faults=met.minor_faults if met else None,
            counted_ms=_ms(met.counted_ns) if met else None,
            collected_ms=_ms(collected),
            shadow_ms=_ms(shadow),
        )

    def _in_hand(self, hand: Hand, origin_ns: int) -> Row:
        """The frame that a thread had in hand when the worker ended."""
        ends = [hand.captured_ns, hand.retrieved_ns, hand.prepared_ns, hand.taken_ns]
        known = [end for end in ends if end]
        if hand.stage in UNTIL_THE_END:  # that of others is not noted
            known.append(self._facts.end_ns)
        spent = [_ms(ended - began) for began, ended in pairwise(known)]
        way = ("shadow",) if hand.stage == flight.SHADOW else WAY
        stages = dict(zip(way, spent, strict=False))
        total_ms = _ms(self._facts.end_ns - hand.captured_ns)
        return Row(
            frame=hand.number,
            source=self._facts.sources[hand.source],
            what="in shadow" if hand.stage == flight.SHADOW else "in hand",
            at_ms=_ms(hand.captured_ns - origin_ns),
            stages_ms=stages,
            total_ms=total_ms,
            missed=total_ms > self._facts.deadlines_ms[hand.source],
        )


def _common_ns(between: tuple[int, int], other: Pause | ShadowPass) -> int:
    return max(min(other.ended_ns, between[1]) - max(other.began_ns, between[0]), 0)


def _feeling(felt: Felt, origin_ns: int) -> Feeling:
    reading = felt.reading
    return Feeling(
        at_ms=_ms(felt.at_ns - origin_ns),
        temperature_c=reading.temperature_c,
        throttled=list(reading.throttled),
        clock_mhz=list(reading.clock_mhz),
    )


def _ms(ns: float) -> float:
    return round(ns / 1e6, 3)
