from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from ai_edge_litert.interpreter import Interpreter

FOLDER = Path(__file__).parents[2] / "models" / "digits"
TILE = 8


@pytest.fixture(scope="module")
def card() -> Any:
    return yaml.safe_load((FOLDER / "card.yaml").read_text())


@pytest.fixture(scope="module")
def tiles() -> Any:
    sheet = cv2.imread(str(FOLDER / "held-out.png"), cv2.IMREAD_UNCHANGED)
    assert sheet is not None
    assert sheet.dtype == np.uint8
    height, width = sheet.shape  # grey: no channels
    rows = sheet.reshape(height // TILE, TILE, width // TILE, TILE)
    return rows.swapaxes(1, 2).reshape(-1, TILE, TILE)


@pytest.fixture(scope="module")
def true_labels() -> list[str]:
    return (FOLDER / "held-out.txt").read_text().splitlines()


def test_the_labels_are_the_ten_digits() -> None:
    assert (FOLDER / "labels.txt").read_text().splitlines() == list("0123456789")


def test_the_card_describes_these_very_files(card: Any) -> None:
    assert set(card["files"]) == {path.name for path in FOLDER.iterdir()} - {"card.yaml"}
    for name, told in card["files"].items():
        data = (FOLDER / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == told["sha256"]
        assert len(data) == told["size_bytes"]


def test_the_golden_file_was_made_with_this_very_model(card: Any) -> None:
    with np.load(FOLDER / "digits.golden.npz", allow_pickle=False) as golden:
        digest = json.loads(str(golden["origin"]))["digest"]
    assert digest == card["files"]["digits.tflite"]["sha256"]


def test_every_tile_of_the_sheet_has_its_true_label(tiles: Any, true_labels: list[str]) -> None:
    assert len(tiles) == len(true_labels) >= 500
    assert set(true_labels) == set("0123456789")


def test_the_int8_model_reads_the_held_out_digits_as_well_as_its_card_says(
    card: Any, tiles: Any, true_labels: list[str]
) -> None:
    interpreter = Interpreter(str(FOLDER / "digits.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]

    def answer(tile: Any) -> str:
        quantized = (tile.astype(np.int16) - 128).astype(np.int8)
        interpreter.set_tensor(input_index, quantized.reshape(1, TILE, TILE, 1))
        interpreter.invoke()
        return str(interpreter.get_tensor(output_index)[0].argmax())

    answers = [answer(tile) for tile in tiles]
    correct = sum(a == b for a, b in zip(answers, true_labels, strict=True))
    accuracy = correct / len(true_labels)
    assert accuracy >= 0.96
    assert accuracy == pytest.approx(card["accuracy"]["int8"], abs=0.005)
