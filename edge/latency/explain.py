"""Says in one sentence why a frame missed its deadline, and only what the evidence shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARE = 0.25  # of the time over the usual, or over the deadline; what explains less is not told
LOW_CLOCK = 0.8  # of the usual rate; governors move it by less under load


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a frame that missed its deadline; what is not known is None."""

    frame: int
    deadline_ms: float
    stages_ms: Mapping[str, float]
    """Of the stages it went through; their sum is its latency, until it was dropped if it was."""
    usual_ms: Mapping[str, float] = field(default_factory=dict)
    """What each stage usually takes; empty where too few frames are known."""
    usual_waited_ms: float = 0
    """How much of that its threads usually wait for a core, at the most."""
    dropped: bool = False
    """For being late before its forward pass, which then did not run."""
    waited_ms: float | None = None
    """How long its threads could have run and had no core."""
    major_faults: int | None = None
    """Pages that had to be read from a disk for them."""
    counted_ms: float | None = None
    """The time, the frame's own and some before and after, that `major_faults` is about."""
    collected_ms: float = 0
    """How long Python's garbage collection stopped them."""
    shadow_ms: float = 0
    """How long the model in shadow had the engine meanwhile."""
    ahead_ms: Mapping[str, float] = field(default_factory=dict)
    """How long the engine was busy with other frames while it waited, by their source."""
    throttled: tuple[str, ...] = ()
    """What held the processor back, in the firmware's words."""
    clock_mhz: int | None = None
    usual_clock_mhz: int | None = None


class Explanation(NamedTuple):
    """Why a frame missed its deadline."""

    stage: str
    """That took the most over its usual time."""
    sentence: str
    causes: list[str]
    """For programs, of: throttled, low_clock, other_processes, garbage_collection, disk, queue,
    shadow, slow_model, late_source. Empty where nothing that was recorded explains it."""


def explain(evidence: Evidence) -> Explanation:
    """Return the explanation of a miss; `evidence.stages_ms` must not be empty."""
    stages, usual = evidence.stages_ms, evidence.usual_ms
    stage = max(stages, key=lambda each: stages[each] - usual.get(each, 0))
    missed_ms = sum(stages.values()) - evidence.deadline_ms
    over_ms = max(stages[stage] - usual.get(stage, 0), missed_ms)
    head = f"frame {evidence.frame} missed by {ms(missed_ms)}"
    if evidence.dropped:
        head += " and was dropped unrun"
    against = f" against its usual {ms(usual[stage])}" if stage in usual else ""
    causes = dict(_causes(evidence, stage, over_ms))
    if not causes and stage in usual:
        causes[""] = "nothing that was recorded explains it"
    told = [f"{head}: {stage} {ms(stages[stage])}{against}", *causes.values()]
    return Explanation(stage, "; ".join(told), [cause for cause in causes if cause])


def _causes(evidence: Evidence, stage: str, over_ms: float) -> list[tuple[str, str]]:
    """Return the causes that the evidence shows: a word for programs, a clause for people."""
    causes = []
    enough_ms = SHARE * over_ms
    usually_ms = sum(evidence.usual_ms.values())
    crowded = usually_ms - evidence.usual_waited_ms <= evidence.deadline_ms < usually_ms
    if crowded:  # it would be in time if it were not for others
        total, waited = ms(usually_ms), ms(evidence.usual_waited_ms)
        causes.append(
            (
                "other_processes",
                f"a frame usually takes {total} here, up to {waited} of it waiting for a core",
            )
        )
    elif usually_ms > evidence.deadline_ms:
        total, deadline = ms(usually_ms), ms(evidence.deadline_ms)
        causes.append(
            (
                "slow_model",
                f"a frame usually takes {total} here, more than the deadline's {deadline}",
            )
        )
    at = f" to {evidence.clock_mhz} MHz" if evidence.clock_mhz else ""
    if evidence.throttled:
        why = ", ".join(evidence.throttled)
        causes.append(("throttled", f"the CPU was throttled{at} ({why})"))
    elif _clock_was_low(evidence):
        clause = f"the CPU ran at {evidence.clock_mhz} MHz, usually at {evidence.usual_clock_mhz}"
        causes.append(("low_clock", clause))
    if stage == "wait" and sum(evidence.ahead_ms.values()) >= enough_ms:
        ahead = [f"{ms(spent_ms)} with {who}" for who, spent_ms in evidence.ahead_ms.items()]
        causes.append(("queue", f"the model was busy {' and '.join(ahead)} before it"))
    if evidence.shadow_ms >= enough_ms:
        clause = f"the model in shadow had the engine for {ms(evidence.shadow_ms)} of it"
        causes.append(("shadow", clause))
    # It may have waited before it was captured, too: only what made it later counts.
    waited_ms = min(evidence.waited_ms or 0, over_ms)
    if waited_ms >= enough_ms and not crowded:
        clause = f"its threads waited {ms(waited_ms)} for a core that others had"
        causes.append(("other_processes", clause))
    if evidence.collected_ms >= enough_ms:
        clause = f"Python's garbage collection took {ms(evidence.collected_ms)}"
        causes.append(("garbage_collection", clause))
    if evidence.major_faults:
        pages = f"{evidence.major_faults} page{'s' * (evidence.major_faults != 1)}"
        around = f" in the {ms(evidence.counted_ms)} around it" if evidence.counted_ms else ""
        causes.append(("disk", f"{pages} had to be read from the disk{around}"))
    if stage == "capture" and not causes:
        causes.append(("late_source", "its source delivered it late"))
    return causes


def _clock_was_low(evidence: Evidence) -> bool:
    now, usual = evidence.clock_mhz, evidence.usual_clock_mhz
    return now is not None and usual is not None and now < LOW_CLOCK * usual


def ms(value: float) -> str:
    """Return milliseconds as people say them, in three digits where there are so many."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2  # noqa: PLR2004
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text} ms"
