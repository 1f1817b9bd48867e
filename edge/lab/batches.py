"""What a frame takes when several share a forward pass, beside what it takes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.lab.against import Comparison, compare, comparison_cells
from edge.lab.report import Identity
from edge.lab.statistics import Both
from edge.lab.table import WORDS, Table, subject_cells, subject_header

if TYPE_CHECKING:
    from edge.lab.report import Report

HEADER = ("alone", "in a batch", "ratio", "95 %", "")


class BatchShare(Identity, Comparison):
    """A frame's share of a forward pass of several (`now`) beside a pass of its own (`then`)."""


def batch_shares(report: Report) -> list[BatchShare]:
    """Return them for the subjects with a batch that were also measured one at a time.

    They took turns in one run, so the machine was the same for both: no control is needed.
    """
    alone = {subject.key: subject for subject in report.subjects if subject.batch == 1}
    shares = []
    for subject in report.subjects:
        single = alone.get((*subject.key[:-1], 1))
        if subject.batch > 1 and single is not None:
            frame_ms = [each / subject.batch for each in subject.slice_p50_ms]
            compared = compare(Both(frame_ms, single.slice_p50_ms), None)
            shares.append(BatchShare(**subject.identity, **compared.model_dump()))
    return shares


def shares_table(report: Report, shares: list[BatchShare]) -> Table:
    """Return them as a table, times in milliseconds."""
    header = [*subject_header(report.subjects), *HEADER]
    rows = [[*subject_cells(each, report.subjects), *comparison_cells(each)] for each in shares]
    return Table(header, rows, left=WORDS | {"95 %", ""}, keys=len(header) - len(HEADER))
