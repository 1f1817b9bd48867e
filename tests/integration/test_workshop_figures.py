"""The whole walk through the workshop, with hardly any training: what must hold all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from edge.catalogue.card import check_files, read_card

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trains

LIMIT_S = 600  # it takes a minute of one core
MADE = ("int8", "int8-weights", "int16x8", "pruned-weights", "pruned-channels", "distilled")
HELD_OUT = 200
TASK = ("--task", "cluttered")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the walk filled, and what it printed."""
    out = tmp_path_factory.mktemp("walk")
    done = subprocess.run(
        [sys.executable, "-m", "edge.workshop.figures", "--short", *TASK, "--out", str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    return out / "cluttered", done.stdout


def figures(printed: str) -> dict[str, dict[str, str]]:
    """Return the rows of the printed table by model."""
    lines = [line.strip("| \n") for line in printed.splitlines() if line.startswith("|")]
    header, _rule, *rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert header[0] == "model", header
    named = {}
    for row in rows:
        cells = row[1:] if row[0] == "*" else row
        named[cells[0]] = dict(zip(header, cells, strict=True))
    return named


def right(accuracy: str) -> int:
    """Return the count in `34.50% (69 of 200)`."""
    share, _, counts = accuracy.partition("% (")
    count, of = counts.rstrip(")").split(" of ")
    assert int(of) == HELD_OUT
    assert float(share) == pytest.approx(100 * int(count) / HELD_OUT, abs=0.01)
    return int(count)


def test_the_walk_keeps_its_promises(walked: tuple[Path, str]) -> None:
    folder, printed = walked
    rows = figures(printed)
    assert tuple(rows) == ("teacher.keras", *MADE)
    size = {name: float(row["kB"]) for name, row in rows.items()}
    packed = {name: float(row["packed kB"]) for name, row in rows.items()}
    macs = {name: float(row["MMACs"]) for name, row in rows.items()}
    count = {name: right(row["accuracy"]) for name, row in rows.items()}
    whole = size["teacher.keras"]
    for name in ("int8", "int8-weights", "int16x8"):
        assert size[name] < whole / 3
        assert macs[name] == macs["teacher.keras"]
    # Zeros make no file smaller and save no work; they pack well.
    assert size["pruned-weights"] == pytest.approx(size["int8"], rel=0.02)
    assert macs["pruned-weights"] == macs["int8"]
    assert packed["pruned-weights"] < packed["int8"] / 2
    # Channels less do both.
    assert size["pruned-channels"] < size["int8"] / 2
    assert macs["pruned-channels"] < macs["int8"] / 2
    assert size["distilled"] == min(size.values())
    assert macs["distilled"] == min(macs.values())
    assert all(packed[name] < size[name] for name in rows)
    assert count["teacher.keras"] > HELD_OUT / 5, "twice as good as chance"
    assert rows["teacher.keras"]["same answer"] == "100.00%"
    assert float(rows["int8"]["same answer"].rstrip("%")) > 85
    _the_cards_say_the_same(folder, printed, count)
    dots = ET.parse(folder / "pareto.svg").iter("{http://www.w3.org/2000/svg}circle")  # noqa: S314
    assert len(list(dots)) == 3 * len(rows)


def _the_cards_say_the_same(folder: Path, printed: str, count: dict[str, int]) -> None:
    def told(name: str) -> Any:
        return yaml.safe_load((folder / name / "card.yaml").read_text(encoding="utf-8"))

    for name in MADE:
        check_files(read_card(folder / name), folder / name)
    for name in ("int8", "int8-weights", "int16x8"):
        accuracy = told(name)["accuracy"]
        assert accuracy["quantized"]["right"] == count[name]
        assert accuracy["float"]["right"] == count["teacher.keras"]
    student = {
        each["network"]: each["right"]
        for each in told("distilled")["figures"]
        if each["mode"] == "int8"
    }
    assert student["student distilled"] == count["distilled"]
    assert f"alone: {student['student alone'] / HELD_OUT:.2%}" in printed
