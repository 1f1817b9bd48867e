"""Ranks subjects by what they cost, and marks those that no other one beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.lab.report import Identity, Part
from edge.lab.table import WORDS, Table, megabytes, ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.lab.report import ModelReport, Report, SubjectReport


class Rank(Identity):
    """One row of the ranking."""

    digest: str
    pareto: bool
    """Whether no other one is better; see `Ranking.pareto_of`."""


class Ranking(Part):
    """All subjects, fastest first."""

    pareto_of: str
    """What was weighed, in words."""
    ranks: list[Rank]


def rank(report: Report) -> Ranking:
    """Order the subjects by their median latency and mark the Pareto front.

    With accuracy measured for all, one is marked when no other is at least as fast and at least
    as accurate, and better in one of the two. Without, what a model is good for is unknown, and
    the mark is about costs alone: no other is at least as fast and its file at least as small.
    """
    models = {model.digest: model for model in report.models}
    by_accuracy = all(model.accuracy is not None for model in report.models)
    ordered = sorted(report.subjects, key=lambda subject: subject.latency_ms.median)

    def weighed(subject: SubjectReport) -> tuple[float, float]:
        """Return two numbers; less is better."""
        model = models[subject.digest]
        cost = -model.accuracy.share if model.accuracy is not None else 0.0
        return (subject.latency_ms.median, cost if by_accuracy else model.size_bytes)

    front = pareto_front([weighed(subject) for subject in ordered])
    return Ranking(
        pareto_of=(
            "no other is both at least as fast (P50) and at least as accurate"
            if by_accuracy
            else "no other is both at least as fast (P50) and at least as small (file); accuracy "
            "was not measured, so this is about costs only"
        ),
        ranks=[
            Rank(**subject.identity, digest=subject.digest, pareto=marked)
            for subject, marked in zip(ordered, front, strict=True)
        ],
    )


def pareto_front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Tell of each point whether no other is at most as great in all numbers and less in one."""

    def beats(other: tuple[float, ...], mine: tuple[float, ...]) -> bool:
        return other != mine and all(a <= b for a, b in zip(other, mine, strict=True))

    return [not any(beats(other, mine) for other in points) for mine in points]


def ranking_table(report: Report, ranking: Ranking) -> Table:
    """Return the ranking as a table, the front marked with a star."""
    models = {model.digest: model for model in report.models}
    subjects = {subject.key: subject for subject in report.subjects}
    rows = []
    for each in ranking.ranks:
        subject = subjects[each.digest, each.engine, each.threads, each.input_size, each.batch]
        rows.append(_row(subject, models[subject.digest], pareto=each.pareto))
    header = ["", "model", "file MB", "operators", "MMACs", "input", "engine", "threads"]
    header += ["accuracy", "P50", "P99", "RSS MB"]
    return Table(header, rows, left=WORDS | {""}, keys=2)


def _row(subject: SubjectReport, model: ModelReport, *, pareto: bool) -> list[str]:
    accuracy = model.accuracy
    return [
        "*" if pareto else "",
        subject.model,
        megabytes(model.size_bytes),
        str(model.operators),
        f"{'>' if model.uncounted_operators else ''}{model.macs / 1e6:.1f}",
        ", ".join(subject.inputs),
        subject.engine,
        str(subject.threads),
        f"{accuracy.share:.1%} of {accuracy.pictures:,}" if accuracy is not None else "-",
        ms(subject.latency_ms.p50),
        ms(subject.latency_ms.p99),
        megabytes(subject.rss_bytes),
    ]
