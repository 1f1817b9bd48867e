"""What `edge bench` prints."""

import json
from collections.abc import Iterator

from edge.cli.tables import Style, show_table
from edge.lab.against import Against, against_table
from edge.lab.batches import BatchShare, batch_shares, shares_table
from edge.lab.bench import Failure
from edge.lab.ranking import Ranking, rank, ranking_table
from edge.lab.report import Report
from edge.lab.table import bench_table


def show(report: Report, style: Style, *, found: Against | None, ranked: bool) -> None:
    """Print the report on standard output."""
    ranking = rank(report) if ranked else None
    if style == "json":
        _show_json(report, found, ranking)
        return
    for line in _head(report, ranked=ranked):
        print(line)
        if style == "markdown":
            print()
    if ranking is not None:
        show_table(ranking_table(report, ranking), style)
        star = "\\*" if style == "markdown" else "*"
        print(f"{star} {ranking.pareto_of}")
    else:
        show_table(bench_table(report), style)
    if shares := batch_shares(report):
        _show_shares(report, shares, style)
    if found is not None:
        _show_changes(report, found, style)


def _show_json(report: Report, found: Against | None, ranking: Ranking | None) -> None:
    whole = report.model_dump(mode="json")
    if ranking is not None:
        whole["ranking"] = ranking.model_dump(mode="json")
    if shares := batch_shares(report):
        whole["batch_shares"] = [each.model_dump(mode="json") for each in shares]
    if found is not None:
        whole["against"] = found.model_dump(mode="json")
    print(json.dumps(whole))


def _head(report: Report, *, ranked: bool) -> Iterator[str]:
    if not ranked:
        (model,) = report.models
        inputs = ", ".join(model.inputs)
        yield f"{model.file}, {model.size_bytes:,} bytes, sha256 {model.digest[:12]}, {inputs}"
    yield str(report.machine)
    yield f"forward pass alone, {report.pace}"
    yield (
        f"at least {report.seconds:g} s each, in turns of {report.slice_s:.3g} s; times in "
        "milliseconds"
    )


def _show_shares(report: Report, shares: list[BatchShare], style: Style) -> None:
    print("\ntime a frame, P50 / batch, against one at a time in this run:")
    if style == "markdown":
        print()
    show_table(shares_table(report, shares), style)


def _show_changes(report: Report, found: Against, style: Style) -> None:
    print(f"\nnow / then, P50, against {found.at}:")
    if style == "markdown":
        print()
    if found.changes:
        show_table(against_table(report, found), style)
    else:
        print("none of these subjects was measured then")
    for line in _circumstances(found):
        print(line)
        if style == "markdown":
            print()


def _circumstances(found: Against) -> Iterator[str]:
    if found.control is None:
        yield "no control: the processor or Python is another, so the machine is compared as well"
    else:
        yield (
            f"the machine itself took {found.control:.3f} times as long as then for a fixed piece "
            "of work; the intervals allow for it"
        )
    for difference in found.differences:
        yield f"not the same as then: {difference}"


def failure_lines(failures: list[Failure], *, nothing_else: bool) -> Iterator[str]:
    """Say what could not be measured: each reason once, with the subjects it is about."""
    sizes = [failure.subject.input_size or () for failure in failures]
    if nothing_else and () not in sizes:
        others = ["{}x{}".format(*size) for size in dict.fromkeys(sizes[1:]) if size != sizes[0]]
        nor = f" (nor {', '.join(others)})" if others else ""
        yield f"{failures[0].error}{nor}"
        return
    by_reason: dict[str, list[str]] = {}
    for failure in failures:
        subject = failure.subject
        how = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
        how += f", batch {subject.batch}" if subject.batch > 1 else ""
        by_reason.setdefault(str(failure.error), []).append(f"{subject.engine} ({how})")
    for reason, subjects in by_reason.items():
        whose = "" if nothing_else and len(by_reason) == 1 else f"{', '.join(subjects)}: "
        yield f"{whose}{reason}"
