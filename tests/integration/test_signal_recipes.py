"""The recipes of models of signals, in their short form, as their users run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from commands import edge

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trains

LIMIT_S = 240


def recipe(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"edge.workshop.{name}", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )


def test_the_recipe_of_the_vibration_model_makes_one_that_hears_bearings(tmp_path: Path) -> None:
    done = recipe("vibration", "--short", "--seed", "3", "--out", tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    card = yaml.safe_load((tmp_path / "mine" / "card.yaml").read_text())
    assert card["recipe"]["command"].endswith("--seed 3 --short")
    assert card["recipe"]["same_bytes_when_repeated"] is True
    found = card["accuracy"]
    assert found["false_alarms"]["int8"] <= 0.1
    for row in found["faults"]:
        if row["fault"] != "imbalance" and row["severity"] == "severe":
            assert row["auc_int8"] > 0.99
            assert row["detected_int8"] > 0.9

    (tmp_path / "device.yaml").write_text(
        """
device: mill
pipelines:
  fan:
    source: {type: images, path: mine/healthy-1.npy}
    model: {path: mine/vibration.tflite, golden: mine/vibration.golden.npz}
    decode: {type: raw}
"""
    )
    checked = edge("check", tmp_path / "device.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "13 golden inputs" in checked.stdout


def test_a_folder_that_is_no_models_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = recipe("vibration", "--short", "--out", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "no model's folder" in done.stderr
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_the_recipe_of_the_keyword_model_makes_a_folder_that_a_device_takes(tmp_path: Path) -> None:
    if not (shutil.which("espeak-ng") and shutil.which("flite")):
        pytest.skip("no speech synthesisers: sudo apt install espeak-ng flite")
    done = recipe("keywords", "--short", "--out", tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    card = yaml.safe_load((tmp_path / "mine" / "card.yaml").read_text())
    assert card["recipe"]["same_bytes_when_repeated"] is True
    voices = {row["voices"] for row in card["accuracy"]["held_out"] if row["model"] == "int8"}
    assert len(voices) == 4
    (tmp_path / "device.yaml").write_text(
        """
device: hall
pipelines:
  words:
    source: {type: images, path: mine/yes.npy}
    model: {path: mine/keywords.tflite, labels: mine/labels.txt, golden: mine/keywords.golden.npz}
"""
    )
    checked = edge("check", tmp_path / "device.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "10 golden inputs" in checked.stdout


def test_without_synthesisers_the_recipe_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge.workshop.keywords", "--short", "--out", tmp_path / "mine"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=os.environ | {"PATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "sudo apt install espeak-ng flite" in done.stderr
    assert not (tmp_path / "mine").exists()
