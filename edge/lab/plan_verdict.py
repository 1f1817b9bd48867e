"""Says in words whether a pipeline fits, and what would help where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from edge.lab.loop_run import HELD
from edge.lab.prediction import unanswered

if TYPE_CHECKING:
    from edge.lab.plan import Plan
    from edge.lab.prediction import Prediction
    from edge.lab.simulation import Load

Word = Literal["fits", "tight", "does not fit", "no deadline"]
NEAR = 0.8  # of the deadline, or of the engine's time: what leaves little for surprises
OWN = 0.5  # of the frames that get no answer: fewer are not a pipeline's own fault
ROOM = 1.2  # times the rates, that should be left


class Verdict(NamedTuple):
    """One word, and a sentence."""

    word: Word
    because: str


def judge(plan: Plan, place: int) -> Verdict:
    """Return what is to be said of the pipeline at this place."""
    load, together = plan.measured[place].load, plan.together
    outcome = together.outcomes[place]
    if load.sources[0].period_ns is None:
        rate_hz = outcome.sources[0].answered / together.seconds
        return Verdict("no deadline", f"as fast as it is asked: {rate_hz:.4g} frames a second")
    if max(map(unanswered, outcome.sources)) > HELD:
        return Verdict("does not fit", _what_is_short(plan, place))
    nearest = max(
        outcome.percentile_ns(99) / source.deadline_ns
        for outcome, source in zip(outcome.sources, load.sources, strict=True)
    )
    if max(together.worst[place]) > HELD:
        worst = f"up to {max(together.worst[place]):.1%} of the frames"
        return Verdict("tight", f"{worst} get no answer in time when the sources fall in badly")
    if plan.head_room is not None and plan.head_room < ROOM:
        return Verdict("tight", f"{plan.head_room:.2f} times these rates is the most that fits")
    if together.engine(place) > NEAR:
        return Verdict("tight", f"the engine is busy {together.engine(place):.0%} of the time")
    if nearest > NEAR:
        return Verdict("tight", f"P99 is {nearest:.0%} of the deadline")
    return Verdict("fits", "")


def _what_is_short(plan: Plan, place: int) -> str:
    load, alone = plan.measured[place].load, plan.alone[place]
    cores = len(load.place.cores)
    (outcome,) = alone.outcomes
    together = max(map(unanswered, plan.together.outcomes[place].sources))
    if max(map(unanswered, outcome.sources)) <= max(HELD, together * OWN):
        used = sum(map(plan.together.cores, range(len(plan.measured)))) + plan.cores.others
        full = f"{used:.2f} of {len(plan.cores.numbers)} are used"
        return (
            f"it fits alone, but not beside all else: the cores are short ({full}); lower rates, "
            "smaller models, or `cpu: {scheduling: fifo}` for what matters most"
        )
    if any(source.mailbox > HELD * source.arrived for source in outcome.sources):
        more = "more threads (`edge tune` tries them), " if load.engine_threads < cores else ""
        return (
            f"the engine is short: a forward pass takes {_pass_ms(load):.3g} ms, and frames come "
            f"every {_interval_ms(load):.3g} ms; {more}a smaller model, or "
            f"{_answered_hz(alone):.3g} frames a second instead of {1e3 / _interval_ms(load):.3g}"
        )
    return (
        f"the deadline is short: alone a frame takes {_percentiles(plan, place)}; a longer "
        "deadline, a smaller model, smaller frames"
    )


def _pass_ms(load: Load) -> float:
    passes = [cost.inference for source in load.sources for cost in source.costs]
    return sum(passes) / len(passes) / 1e6


def _interval_ms(load: Load) -> float:
    """Return the time between two frames that are to be run, of whichever source."""
    rate = sum(1 / source.period_ns for source in load.sources if source.period_ns)
    return load.every / rate / 1e6


def _answered_hz(alone: Prediction) -> float:
    return sum(source.answered for source in alone.outcomes[0].sources) / alone.seconds


def _percentiles(plan: Plan, place: int) -> str:
    worst = max(plan.alone[place].outcomes[0].sources, key=unanswered)
    p50, p99 = (worst.percentile_ns(q) / 1e6 for q in (50, 99))
    return f"{p50:.3g} ms (P50) to {p99:.3g} ms (P99)"
