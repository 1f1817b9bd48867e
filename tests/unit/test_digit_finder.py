"""The model `digit-finder`, and how its recipe draws, aims and counts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

from edge.config.pipeline import Pipeline
from edge.geometry import Geometry
from edge.worker.prepare import Prepared, prepare
from edge.workshop.detection import (
    GRID,
    NOBODYS,
    OBJECT_WEIGHT,
    SIDE,
    Digit,
    Picture,
    Tally,
    pictures,
    targets,
)

if TYPE_CHECKING:
    from edge.decoders.base import Prediction

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "digit-finder"
MODEL = FOLDER / "digit-finder.tflite"


@pytest.fixture(scope="module")
def card() -> Any:
    return yaml.safe_load((FOLDER / "card.yaml").read_text())


@pytest.fixture(scope="module")
def finder(card: Any) -> Prepared:
    return prepare(
        Pipeline.model_validate(
            {
                "source": {"type": "synthetic"},
                "model": {"path": MODEL, **card["pipeline"]["model"]},
                "decode": card["pipeline"]["decode"],
            }
        )
    )


def found_in(finder: Prepared, frame: Any) -> list[Prediction]:
    tensor = finder.preprocess.buffer()
    geometry = finder.preprocess(frame, tensor)
    return finder.decode(finder.engine.run(tensor), geometry)


# The model.


def test_the_card_describes_the_files_that_lie_there(card: Any) -> None:
    there = {path.name for path in FOLDER.iterdir()} - {"card.yaml"}
    assert there == set(card["files"])
    for name, file in card["files"].items():
        data = (FOLDER / name).read_bytes()
        assert len(data) == file["size_bytes"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 150_000


def test_the_golden_file_was_made_with_this_very_model(card: Any) -> None:
    with np.load(FOLDER / "digit-finder.golden.npz", allow_pickle=False) as golden:
        digest = json.loads(str(golden["origin"]))["digest"]
    assert digest == card["files"]["digit-finder.tflite"]["sha256"]


def test_the_demo_decodes_as_the_card_says(card: Any) -> None:
    demo = yaml.safe_load((ROOT / "device_configs/demo-detect.yaml").read_text())
    pipeline = demo["pipelines"]["scene"]
    assert pipeline["decode"] == card["pipeline"]["decode"]
    assert pipeline["model"]["resize"] == card["pipeline"]["model"]["resize"]


def test_it_finds_held_out_digits_about_as_often_as_its_card_says(
    card: Any, finder: Prepared
) -> None:
    tally = Tally()
    kinds = ("gradient", "noise", "stripes", "blobs")
    for picture in pictures("held_out", 200, 0, kinds=kinds):
        tally.take(found_in(finder, picture.frame), picture)
    assert tally.f1 == pytest.approx(card["accuracy"]["int8_seen_kinds"]["f1"], abs=0.05)


def test_in_its_sample_scenes_it_finds_most_digits_where_they_are(
    card: Any, finder: Prepared
) -> None:
    right = there = 0
    for name, truth in card["samples"].items():
        frame = cv2.imread(str(FOLDER / name))
        assert frame is not None
        found = found_in(finder, frame)
        reach = max(frame.shape) / GRID
        for each in truth.split("; "):
            label, _, place = each.partition(" at ")
            x, y = map(int, place.split(", "))
            there += 1
            right += any(
                str(one["index"] - 1) == label
                and abs(one["x_px"] - x) <= reach
                and abs(one["y_px"] - y) <= reach
                for one in found
            )
    assert there >= 8
    assert right >= there * 3 / 4


# Its pictures, and what is counted as right.


def a_picture(*digits: Digit, geometry: Geometry | None = None) -> Picture:
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Picture(blank, blank, geometry or Geometry(SIDE, SIDE), list(digits))


def a_prediction(label: int, x: float, y: float) -> Prediction:
    return {"index": label + 1, "x": x, "y": y}


def test_pictures_are_the_same_for_a_seed_and_their_first_ones_whatever_their_count() -> None:
    few = list(pictures("training", 3, 1, kinds=["noise"]))
    more = list(pictures("training", 5, 1, kinds=["noise"]))
    other = list(pictures("training", 3, 2, kinds=["noise"]))
    for one, again in zip(few, more[:3], strict=True):
        assert (one.tensor == again.tensor).all()
        assert one.digits == again.digits
    assert any((one.tensor != two.tensor).any() for one, two in zip(few, other, strict=True))


def test_the_cells_about_a_digits_middle_are_its_own_and_those_around_them_nobodys() -> None:
    classes, weights = targets(a_picture(Digit(7, 0.5, 0.5, 32)))
    rows, columns = np.nonzero(classes)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (5, 5),
        (5, 6),
        (6, 5),
        (6, 6),
    }
    assert set(classes[classes > 0].tolist()) == {8}
    assert (weights[classes > 0] == OBJECT_WEIGHT).all()
    ignored = weights == 0
    assert ignored.sum() == 4 * 4 - 4  # within 0.45 * 32 pixels of the middle
    assert NOBODYS * 32 > 12
    assert (weights[~ignored & (classes == 0)] == 1).all()


def test_a_small_digit_has_the_one_cell_that_holds_its_middle() -> None:
    classes, _ = targets(a_picture(Digit(0, 0.3, 0.9, 8)))
    assert np.argwhere(classes).tolist() == [[10, 3]]
    assert classes[10, 3] == 1


def test_targets_are_in_the_inputs_terms_where_the_frame_is_letterboxed() -> None:
    wide = Geometry(SIDE, SIDE // 2, top=-0.5, down=2.0)  # a quarter above and below is padding
    classes, _ = targets(a_picture(Digit(3, 0.5, 0.0, 8), geometry=wide))
    assert np.argwhere(classes)[:, 0].tolist() == [3]


def test_a_digit_is_right_by_its_class_and_place_and_is_found_once() -> None:
    tally = Tally()
    picture = a_picture(Digit(4, 0.5, 0.5, 24), Digit(9, 0.2, 0.2, 24))
    cell = 1 / GRID
    tally.take(
        [
            a_prediction(4, 0.5 + 0.9 * cell, 0.5 - 0.9 * cell),  # right
            a_prediction(4, 0.5, 0.5),  # the same digit again
            a_prediction(9, 0.2 + 1.1 * cell, 0.2),  # too far away
            a_prediction(1, 0.2, 0.2),  # of another class
        ],
        picture,
    )
    assert (tally.right[4], tally.told[4], tally.there[4]) == (1, 2, 1)
    assert (tally.right[9], tally.told[9], tally.there[9]) == (0, 1, 1)
    assert (tally.told[1], tally.there[1]) == (1, 0)
    assert tally.card == {
        "f1": pytest.approx(2 / 6, abs=1e-4),
        "precision": 0.25,
        "recall": 0.5,
        "digits": 2,
        "told": 4,
        "right": 1,
    }


def test_where_nothing_is_there_and_nothing_told_there_is_no_figure_to_divide_by_zero() -> None:
    assert Tally().card["f1"] == 0
