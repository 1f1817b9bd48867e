"""Tables of a report: for a terminal, for a file, for Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.lab.report import Identity, Report, SubjectReport

BORDER = 3  # characters that a box adds to a column
WORDS = frozenset(["model", "engine", "input"])
LATENCY_COLUMNS = ("mean", "P50", "P90", "P95", "P99", "P99.9", "max")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: frozenset[str] = frozenset()
    """Columns of words; the others are numbers."""
    keys: int = 1
    """So many columns, the first ones, say what a row is about."""

    def plain(self) -> str:
        """Return aligned columns."""
        widths = self._widths()
        lines = []
        for row in (self.header, *self.rows):
            cells = [
                cell.ljust(width) if name in self.left else cell.rjust(width)
                for name, cell, width in zip(self.header, row, widths, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return a table of GitHub's Markdown."""
        rule = ["---" if name in self.left else "---:" for name in self.header]
        rows = (self.header, rule, *self.rows)
        return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)

    def print_boxed(self) -> None:
        """Print it with lines around, to a terminal; in parts where that is too narrow."""
        from rich.console import Console
        from rich.table import Table as Boxed

        console = Console(markup=False, highlight=False)
        for part in self.parts(console.width):
            boxed = Boxed()
            for name in part.header:
                boxed.add_column(name, justify="left" if name in self.left else "right")
            for row in part.rows:
                boxed.add_row(*row)
            console.print(boxed)

    def parts(self, width: int) -> list[Table]:
        """Return tables that are at most so wide in a box, each with the key columns.

        A part has one column beside the keys, however narrow it should be.
        """
        boxed = [each + BORDER for each in self._widths()]
        keys = list(range(self.keys))
        chosen: list[list[int]] = [[]]
        for column in range(self.keys, len(boxed)):
            taken = sum(boxed[each] for each in (*keys, *chosen[-1], column)) + 1
            if taken > width and chosen[-1]:
                chosen.append([])
            chosen[-1].append(column)
        return [self._only([*keys, *columns]) for columns in chosen]

    def _only(self, columns: Sequence[int]) -> Table:
        header, *rows = [[row[each] for each in columns] for row in (self.header, *self.rows)]
        return Table(header, rows, self.left, self.keys)

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def bench_table(report: Report) -> Table:
    """Return the figures of each subject, times in milliseconds."""
    header = [*subject_header(report.subjects), "init", "first", *LATENCY_COLUMNS]
    rows = []
    for subject in report.subjects:
        each = subject.latency_ms
        times = [subject.init_ms, subject.first_invoke_ms, each.mean, each.p50, each.p90]
        times += [each.p95, each.p99, each.p99_9, each.max]
        rate, memory = f"{subject.throughput_hz:,.1f}", megabytes(subject.rss_bytes)
        cells = subject_cells(subject, report.subjects)
        rows.append([*cells, *map(ms, times), f"{each.count:,}", rate, memory])
    keys = len(subject_header(report.subjects))
    header += ["count", "frames/s" if batched(report.subjects) else "per s", "RSS MB"]
    return Table(header, rows, left=WORDS, keys=keys)


def subject_header(subjects: Sequence[SubjectReport]) -> list[str]:
    """Return the columns that tell these subjects apart."""
    several = len({subject.model for subject in subjects}) > 1
    sized = any(subject.input_size for subject in subjects)
    told = [*(["model"] if several else []), "engine", "threads", *(["input"] if sized else [])]
    return [*told, "batch"] if batched(subjects) else told


def batched(subjects: Sequence[SubjectReport]) -> bool:
    """Tell whether any of them runs several frames at once."""
    return any(subject.batch > 1 for subject in subjects)


def subject_cells(subject: Identity, subjects: Sequence[SubjectReport]) -> list[str]:
    """Return what stands under `subject_header`."""
    size = "{}x{}".format(*subject.input_size) if subject.input_size else "as it is"
    cells = {
        "model": subject.model,
        "engine": subject.engine,
        "threads": str(subject.threads),
        "input": size,
        "batch": str(subject.batch),
    }
    return [cells[name] for name in subject_header(subjects)]


def megabytes(size_bytes: int) -> str:
    """Return a size in units of 10^6 bytes."""
    return f"{size_bytes / 1e6:.1f}"


def ms(value: float | None) -> str:
    """Return milliseconds to four digits; a dash where there is no value."""
    if value is None:
        return "-"
    magnitude = math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(0, 3 - magnitude)}f}"
