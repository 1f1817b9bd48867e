"""What models cost: size, multiply-accumulates, and latency in turns, as `edge bench` has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.engines.choose import choose
from edge.engines.model_file import read_model_file
from edge.lab import bench, statistics
from edge.lab.report import SubjectReport, report_run
from edge.lab.subject import combine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.lab.statistics import Ratio


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model costs on this machine."""

    size_bytes: int
    macs: int
    """Multiply-accumulates of one forward pass."""
    subject: SubjectReport
    """What was measured: latency of the forward pass alone, engine, memory."""

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it, times in milliseconds."""
        return {"size_bytes": self.size_bytes, "macs": self.macs, **self.latency_card}

    @property
    def latency_card(self) -> dict[str, Any]:
        """Of that the latency alone, in milliseconds; null where too few invokes are ground."""
        latency = self.subject.latency_ms
        return {"p50_ms": latency.p50, "p99_ms": latency.p99, "invokes": latency.count}


def measure(
    models: Sequence[Path],
    *,
    seconds: float,
    engine: str = "auto",
    threads: int = 1,
    on_slice: Callable[[], None] = lambda: None,
) -> list[Cost]:
    """Measure each model at least so long, in turns, warm; return their costs in order.

    `on_slice` is called `slices(models, seconds)` times. Raises what made one of them fail.
    """
    summaries = {path: read_model_file(path) for path in models}
    subjects = combine(models, [choose(engine, threads)], [threads], [None])
    runs, failures = bench.measure(subjects, bench.Plan(seconds), on_slice)
    for failure in failures:
        raise failure.error
    measured = {
        run.subject.model: report_run(run, summaries[run.subject.model].sha256) for run in runs
    }
    return [
        Cost(summaries[path].size_bytes, summaries[path].macs, measured[path]) for path in models
    ]


def slices(models: Sequence[Path], seconds: float) -> int:
    """Return how many turns measuring these takes, if none of their invokes is very long."""
    return len(models) * bench.Plan(seconds).slices


def ratio(now: Cost, then: Cost) -> Ratio | None:
    """Return now / then of the median latency, with its 95 % interval; None of too few slices."""
    both = statistics.Both(now=now.subject.slice_p50_ms, then=then.subject.slice_p50_ms)
    return statistics.ratio(both)
