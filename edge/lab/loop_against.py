"""Compares a bench of the loop with one that was saved before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.engines.choose import in_words
from edge.errors import ConfigError
from edge.lab.against import (
    COMPARISON_HEADER,
    Comparison,
    compare,
    comparison_cells,
    machine_differences,
)
from edge.lab.report import Part
from edge.lab.statistics import Both
from edge.lab.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.lab.loop_report import LoopCase, LoopReport


class LoopChange(Comparison):
    """Capture to result of one pipeline, now and then."""

    pipeline: str
    source: str


class LoopAgainst(Part):
    """All pipelines that were measured both now and then, over the same source."""

    at: str
    """When the saved ones were measured."""
    differences: list[str]
    """What else is not as it was then, and may be the cause of a change."""
    changes: list[LoopChange]


def refuse_another_pace(then: LoopReport, path: Path, *, rate_hz: float | None) -> None:
    """Raise ConfigError where a saved report was measured at another rate."""
    if then.rate_hz != rate_hz:
        how = "without --rate" if then.rate_hz is None else f"with --rate {then.rate_hz:g}"
        raise ConfigError(
            f"{path}: was measured {how}; measure the same way, for warm caches and cold ones "
            "cannot be compared"
        )


def against_loops(now: LoopReport, then: LoopReport) -> LoopAgainst:
    """Return the ratios of the pipelines that are in both reports."""
    before = {(case.pipeline, case.source): case for case in then.cases}
    pairs = [
        (case, before[key])
        for case in now.cases
        if (key := (case.pipeline, case.source)) in before and case.turn_p50_ms
    ]
    pairs = [(case, other) for case, other in pairs if other.turn_p50_ms]
    differences = [*machine_differences(now.machine, then.machine), *_differences(pairs)]
    return LoopAgainst(
        at=then.at,
        differences=differences,
        changes=[_change(*pair, same=not differences) for pair in pairs],
    )


def _change(now: LoopCase, then: LoopCase, *, same: bool) -> LoopChange:
    """Compare; where all is the `same`, the forward passes alone are the control."""
    control = Both(now.bare_turn_p50_ms, then.bare_turn_p50_ms) if same else None
    found = compare(Both(now.turn_p50_ms, then.turn_p50_ms), control)
    return LoopChange(pipeline=now.pipeline, source=now.source, **found.model_dump())


def _differences(pairs: list[tuple[LoopCase, LoopCase]]) -> Iterator[str]:
    for now, then in pairs:
        if now.digest != then.digest:
            yield f"{now.pipeline}: the model was another one"
        ours, theirs = (
            in_words(f"{case.engine} {case.engine_version}", case.threads) for case in (now, then)
        )
        if ours != theirs:
            yield f"{now.pipeline}: {theirs} then, {ours} now"


def loop_against_table(found: LoopAgainst) -> Table:
    """Return the ratios as a table."""
    rows = [[each.pipeline, each.source, *comparison_cells(each)] for each in found.changes]
    header = ["pipeline", "source", *COMPARISON_HEADER]
    return Table(header, rows, left=frozenset(["pipeline", "source", "95 %", ""]), keys=2)
