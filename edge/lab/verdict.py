"""Which candidate wins, and why: pure functions over what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.engines.choose import in_words
from edge.engines.tuning import LONGEST_REASON
from edge.errors import ModelError
from edge.lab.loop_run import HELD, Tally
from edge.lab.report import latency_of
from edge.lab.table import Table, ms
from edge.latency.hdr_codec import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.latency.histogram import Histogram

DECIDING = (99.0, 95.0, 90.0, 50.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run a model."""

    engine: str
    threads: int

    def __str__(self) -> str:
        return in_words(self.engine, self.threads)


@dataclass
class Outcome:
    """What a candidate did in its turns."""

    candidate: Candidate
    deadline_ms: float
    turns: list[Tally] = field(default_factory=list)
    beside: dict[str, Tally] = field(default_factory=dict)
    """What the other pipelines did meanwhile, by name."""
    failed: str | None = None
    """Why it cannot be run."""

    @property
    def total(self) -> Tally:
        """All turns together."""
        return Tally.of(self.turns) if self.turns else Tally(self.deadline_ms)

    @property
    def holds(self) -> bool:
        """Whether it holds the pipeline's deadline."""
        return self.total.holds

    @property
    def late_beside(self) -> list[str]:
        """The other pipelines that missed their deadline meanwhile."""
        return sorted(name for name, tally in self.beside.items() if not tally.holds)

    def figure_ms(self, q: float | None) -> float:
        """Return the percentile `q` over all turns, the maximum for None."""
        return _milliseconds(self.total.latency, q)

    def spread_ms(self, q: float | None) -> tuple[float, float]:
        """Return how far the figure moves when any one of the turns is left out."""
        figures = [self.figure_ms(q)]
        if len(self.turns) > 1:
            for left_out in self.turns:
                rest = [turn.latency for turn in self.turns if turn is not left_out]
                figures.append(_milliseconds(type(rest[0]).merged(rest), q))
        return min(figures), max(figures)

    def evidence(self, q: float | None) -> dict[str, Any]:
        """Return what was measured, as it stands in the tuning's file."""
        known: dict[str, Any] = {"engine": self.candidate.engine, "threads": self.candidate.threads}
        if self.failed is not None:
            return known | {"failed": self.failed}
        total = self.total
        low, high = self.spread_ms(q)
        return known | {
            "holds_deadline": self.holds,
            "seconds": round(total.seconds, 2),
            "answered": total.answered,
            "answered_late": total.late,
            "failed_frames": total.failed,
            "dropped": dict(total.dropped),
            "missed_share": round(total.miss_share, 5),
            "deciding_ms": round(self.figure_ms(q), 6),
            "deciding_ms_without_one_turn": [round(low, 6), round(high, 6)],
            "cpu_ms_a_frame": round(total.cpu_ms, 3),
            "late_beside": self.late_beside,
            "latency_ms": latency_of(total.latency).model_dump() if total.latency.count else None,
            "hdr_ns": encode(total.latency),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The candidate that was chosen, and the reason."""

    chosen: Outcome
    q: float | None
    """The percentile that decided; None where there were too few frames for any."""
    because: str


def judge(outcomes: Sequence[Outcome]) -> Verdict:
    """Choose the candidate of the lowest P99 that holds the deadline.

    First come those beside which most other pipelines hold theirs, then those that hold their
    own; where none does, those that miss it least, in tenths of the frames. Of these the lowest
    P99 wins, and among all whose spread overlaps with its spread, the fewest threads and then
    the fewest processor seconds. Raises ModelError when no candidate could be run.
    """
    able = [outcome for outcome in outcomes if outcome.failed is None]
    if not able:
        raise ModelError("\n".join(f"{o.candidate}: {o.failed}" for o in outcomes))
    level = min(map(_level, able))
    rivals = [outcome for outcome in able if _level(outcome) == level]
    # What is so slow that it answered less than half of the frames says little and cannot win.
    most = max(each.total.latency.count for each in rivals)
    rivals = [each for each in rivals if 2 * each.total.latency.count >= most]
    q = _deciding([each.total.latency for each in rivals])
    best_first = sorted(rivals, key=lambda each: each.figure_ms(q))
    best = best_first[0]
    alike = [each for each in best_first if each.spread_ms(q)[0] <= best.spread_ms(q)[1]]
    chosen = min(alike, key=lambda each: (each.candidate.threads, each.total.cpu_ms))
    return Verdict(chosen, q, _because(chosen, best, able, q))


def verdict_table(outcomes: Sequence[Outcome], verdict: Verdict) -> Table:
    """Return what was measured of each candidate, times in milliseconds, the chosen one marked."""
    header = ["", "engine", "threads", "frames", "P50", "P90", "P99", "max"]
    header += ["missed", "CPU/frame"]
    rows = []
    for outcome in outcomes:
        mark = "*" if outcome is verdict.chosen else ""
        head = [mark, outcome.candidate.engine, str(outcome.candidate.threads)]
        total = outcome.total
        if outcome.failed is not None or not total.latency.count:
            rows.append(head + ["-"] * (len(header) - len(head)))
            continue
        found = [total.latency.supported_percentile(q) for q in (50, 90, 99)]
        times = [ms(None if ns is None else ns / 1e6) for ns in (*found, total.latency.max)]
        share = f"{total.miss_share:.1%}"
        rows.append([*head, f"{total.answered:,}", *times, share, ms(total.cpu_ms)])
    return Table(header, rows, left=frozenset(["", "engine"]), keys=3)


def figure_name(q: float | None) -> str:
    """Return P99, or `maximum`."""
    return "maximum" if q is None else f"P{q:g}"


def _milliseconds(histogram: Histogram, q: float | None) -> float:
    return (histogram.max if q is None else histogram.percentile(q)) / 1e6


def _deciding(histograms: Sequence[Histogram]) -> float | None:
    """Return the highest percentile that each of the samples supports."""
    for q in DECIDING:
        if all(histogram.supported_percentile(q) is not None for histogram in histograms):
            return q
    return None


def _level(outcome: Outcome) -> tuple[int, float]:
    """Return how bad it is before any latency counts: pipelines late beside it, own misses."""
    own = 0.0 if outcome.holds else max(round(outcome.total.miss_share, 1), HELD)
    return len(outcome.late_beside), own


def _because(chosen: Outcome, best: Outcome, able: Sequence[Outcome], q: float | None) -> str:
    threads = in_words("", chosen.candidate.threads).removeprefix(", ")
    words = f"{threads}, {figure_name(q)} {ms(chosen.figure_ms(q))} ms"
    others = sorted((o for o in able if o is not chosen), key=lambda o: (_level(o), o.figure_ms(q)))
    if not others:
        words += ", no other candidate"
    elif best is not chosen:
        words += f", within the noise of {ms(best.figure_ms(q))} with {best.candidate}"
    else:
        words += f" against {ms(others[0].figure_ms(q))} with {others[0].candidate}"
    if not chosen.holds:
        deadline = f"the deadline of {chosen.deadline_ms:g} ms"
        none = "" if any(outcome.holds for outcome in able) else f"none holds {deadline}, "
        missed = f"{chosen.total.miss_share:.1%} of its frames miss {'it' if none else deadline}"
        words += f"; {none}{missed}"
    if chosen.late_beside:
        words += f"; late beside it: {', '.join(chosen.late_beside)}"
    return words if len(words) <= LONGEST_REASON else f"{words[: LONGEST_REASON - 3]}..."
