"""Which models no other one beats."""

import pytest
from lab_reports import model, report, subject

from edge.lab.ranking import pareto_front, rank, ranking_table
from edge.lab.report import Accuracy, ModelReport
from edge.lab.table import Table


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [True]),
        ([(1, 2), (2, 1)], [True, True]),
        ([(1, 1), (2, 2)], [True, False]),
        ([(1, 1), (1, 2), (2, 1)], [True, False, False]),
        ([(1, 1), (1, 1)], [True, True]),
        ([(1, 3), (2, 2), (3, 1), (3, 3), (2, 3)], [True, True, True, False, False]),
    ],
)
def test_a_point_is_on_the_front_when_none_is_better(
    points: list[tuple[float, float]], front: list[bool]
) -> None:
    assert pareto_front(points) == front


def measured(models: list[ModelReport], medians_ms: list[float]) -> list[tuple[str, bool]]:
    """Return the ranking of these models with these medians, by digest."""
    subjects = [
        subject([[median] * 20], model=each.file, digest=each.digest)
        for each, median in zip(models, medians_ms, strict=True)
    ]
    ranking = rank(report(subjects, models=models))
    return [(each.digest, each.pareto) for each in ranking.ranks]


def right(count: int) -> Accuracy:
    return Accuracy(right=count, pictures=100, unreadable=0)


def test_with_accuracy_the_front_is_between_speed_and_accuracy() -> None:
    models = [
        model("big", 9000, right(90)),
        model("small", 100, right(70)),
        model("poor", 50, right(60)),
    ]
    assert measured(models, [10.0, 1.0, 2.0]) == [("small", True), ("poor", False), ("big", True)]


def test_without_it_the_front_is_about_costs() -> None:
    models = [model("big", 9000), model("small", 100, right(70)), model("tiny", 50)]
    found = measured(models, [10.0, 1.0, 2.0])
    assert found == [("small", True), ("tiny", True), ("big", False)]
    assert "costs only" in rank(report([subject([[1.0]])])).pareto_of


def test_the_table_has_what_makes_a_model_heavy() -> None:
    models = [model("aa", 1_500_000, right(75))]
    whole = report([subject([[2.0] * 100])], models=models)
    table = ranking_table(whole, rank(whole))
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row[""] == "*"
    assert (row["file MB"], row["MMACs"], row["operators"]) == ("1.5", "12.0", "3")
    assert row["accuracy"] == "75.0% of 100"
    assert row["input"] == "uint8 [1, 4, 4, 3]"
    assert float(row["P50"]) == pytest.approx(2.0, rel=2e-3)


def test_tables_are_aligned_and_escape_what_would_break_markdown() -> None:
    table = Table(["name", "n"], [["a|b", "1"], ["c", "1,234"]], left=frozenset(["name"]))
    assert table.plain() == "name      n\na|b       1\nc     1,234"
    assert table.markdown().splitlines() == [
        "| name | n |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| c | 1,234 |",
    ]


def test_a_table_too_wide_for_the_terminal_comes_in_parts_with_its_keys() -> None:
    table = Table(["name", "a", "b", "c"], [["one", "11", "22", "33"]], left=frozenset(["name"]))
    assert [part.header for part in table.parts(80)] == [["name", "a", "b", "c"]]
    assert [part.header for part in table.parts(18)] == [["name", "a", "b"], ["name", "c"]]
    assert [part.rows for part in table.parts(18)] == [[["one", "11", "22"]], [["one", "33"]]]
    assert len(table.parts(1)) == 3
