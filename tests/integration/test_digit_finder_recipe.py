"""The recipe of the digit finder, as its user runs it, with little data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import edge

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]


def test_the_recipe_writes_a_whole_folder_that_the_runtime_runs(tmp_path: Path) -> None:
    out = tmp_path / "finder"
    done = subprocess.run(
        [sys.executable, "-m", "edge.workshop.digit_finder", "--short", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 1: loss" in done.stdout
    card = yaml.safe_load((out / "card.yaml").read_text())
    assert set(card["files"]) == {path.name for path in out.iterdir()} - {"card.yaml"}
    assert card["recipe"]["command"] == "python -m edge.workshop.digit_finder --seed 0"
    assert 0.4 <= card["pipeline"]["decode"]["threshold"] <= 0.8
    with np.load(out / "digit-finder.golden.npz", allow_pickle=False) as golden:
        assert golden["input"].shape[1:] == (1, 96, 96, 3)
    told = edge("inspect", out / "digit-finder.tflite").stdout
    assert "int8 [1, 96, 96, 3]" in told
    assert "int8 [1, 12, 12, 11]" in told
    assert "fully int8:   yes" in told


def test_a_folder_that_is_no_models_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "edge.workshop.digit_finder", "--short", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
