"""Compares a report with one that was saved before: ratios, and whether they say anything."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal

from edge.errors import ConfigError
from edge.lab.report import Identity, Part
from edge.lab.statistics import FEWEST_SLICES, Both, ratio
from edge.lab.table import WORDS, Table, ms, subject_cells, subject_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.lab.machine import Machine
    from edge.lab.report import Report, SubjectReport

COMPARISON_HEADER = ("then P50", "now P50", "now / then", "95 %", "")
FEW = f"under {FEWEST_SLICES} slices"


class Comparison(Part):
    """One quantity, now and then."""

    then_p50_ms: float
    """Median of the slices' medians, as `now_p50_ms`."""
    now_p50_ms: float
    ratio: float
    """now / then."""
    low: float | None
    """The ends of the ratio's 95 % interval; null where there are too few slices for one."""
    high: float | None
    verdict: Literal["faster", "slower", "cannot tell"]


class Change(Identity, Comparison):
    """One subject, now and then."""


class Against(Part):
    """All subjects that were measured both now and then."""

    at: str
    """When the saved ones were measured."""
    differences: list[str]
    """What else is not as it was then, and may be the cause of a change."""
    control: float | None
    """now / then of the control: above 1 the machine itself was slower now.

    Null where the processor or Python is another: then it is no control.
    """
    changes: list[Change]


def refuse_others(then: Report, path: Path, *, digests: set[str], rate_hz: float | None) -> None:
    """Raise ConfigError where a saved report is about other models only, or another pace."""
    if not digests & {subject.digest for subject in then.subjects}:
        names = ", ".join(sorted({subject.model for subject in then.subjects})) or "nothing"
        raise ConfigError(
            f"{path}: holds measurements of {names}, and not of this model: its digest (sha256) "
            "is another; --compare measures several models in one run"
        )
    if then.rate_hz != rate_hz:
        raise ConfigError(
            f"{path}: was measured {then.pace.partition(':')[0]} "
            f"({'no --rate' if then.rate_hz is None else f'--rate {then.rate_hz:g}'}); measure "
            "the same way, for warm caches and cold ones cannot be compared"
        )


def against(now: Report, then: Report) -> Against:
    """Return the ratios of the subjects that are in both reports."""
    before = {subject.key: subject for subject in then.subjects}
    pairs = [(each, before[each.key]) for each in now.subjects if each.key in before]
    differences = list(dict.fromkeys(_differences(now, then, pairs)))
    control = _control(now, then)
    return Against(
        at=then.at,
        differences=differences,
        control=control
        and round(statistics.median(control.now) / statistics.median(control.then), 4),
        changes=[_change(*pair, control) for pair in pairs],
    )


def _control(now: Report, then: Report) -> Both | None:
    """Return the control's slices, where it did the same work on the same processor."""
    one, other = now.machine, then.machine
    if (one.cpu, one.python) != (other.cpu, other.python):
        return None
    if not now.control_ms or not then.control_ms:
        return None
    return Both(now.control_ms, then.control_ms)


def _change(now: SubjectReport, then: SubjectReport, control: Both | None) -> Change:
    compared = compare(Both(now.slice_p50_ms, then.slice_p50_ms), control)
    return Change(**now.identity, **compared.model_dump())


def compare(medians_ms: Both, control: Both | None) -> Comparison:
    """Compare the medians of slices, now and then."""
    found = ratio(medians_ms, control)
    now_p50_ms, then_p50_ms = map(statistics.median, medians_ms)
    sure = found is not None and found.can_tell
    return Comparison(
        then_p50_ms=then_p50_ms,
        now_p50_ms=now_p50_ms,
        ratio=round(now_p50_ms / then_p50_ms, 4),
        low=round(found.low, 4) if found else None,
        high=round(found.high, 4) if found else None,
        verdict=("faster" if now_p50_ms < then_p50_ms else "slower") if sure else "cannot tell",
    )


def _differences(
    now: Report, then: Report, pairs: list[tuple[SubjectReport, SubjectReport]]
) -> Iterator[str]:
    yield from machine_differences(now.machine, then.machine)
    for ours, theirs in pairs:
        if ours.engine_version != theirs.engine_version:
            yield f"{ours.engine}: {theirs.engine_version} then, {ours.engine_version} now"


def machine_differences(now: Machine, then: Machine) -> Iterator[str]:
    """Say what of the machine is not as it was."""
    for fact in ("cpu", "cores", "machine", "kernel", "governor", "python"):
        ours, theirs = getattr(now, fact), getattr(then, fact)
        if ours != theirs:
            yield f"{fact}: {theirs} then, {ours} now"


def against_table(report: Report, found: Against) -> Table:
    """Return the ratios as a table."""
    header = [*subject_header(report.subjects), *COMPARISON_HEADER]
    rows = [
        [
            *subject_cells(change, report.subjects),
            *comparison_cells(change),
        ]
        for change in found.changes
    ]
    return Table(header, rows, left=WORDS | {"95 %", ""}, keys=len(header) - len(COMPARISON_HEADER))


def comparison_cells(each: Comparison) -> list[str]:
    """Return what stands under `COMPARISON_HEADER`."""
    interval = f"{each.low:.3f} to {each.high:.3f}" if each.low is not None else FEW
    times = (ms(each.then_p50_ms), ms(each.now_p50_ms))
    return [*times, f"{each.ratio:.3f}", interval, each.verdict]
