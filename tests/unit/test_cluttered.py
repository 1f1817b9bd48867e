"""The pictures of the workshop's harder task."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.workshop.cluttered import SHORT, SIDE, Extent, pictures, write_data
from edge.workshop.glyphs import PARTS

if TYPE_CHECKING:
    from pathlib import Path

FEW = Extent(training=70, held_out=30, epochs=1)


def test_the_same_seed_gives_the_same_pictures_whatever_their_number() -> None:
    x, y = pictures("training", 40, 0)
    more_x, more_y = pictures("training", 60, 0)
    assert (more_x[:40] == x).all()
    assert (more_y[:40] == y).all()
    assert (pictures("training", 40, 1)[0] != x).any()


def test_all_digits_are_alike_often_in_pictures_full_of_colour() -> None:
    x, y = pictures("validation", 100, 3)
    assert x.shape == (100, SIDE, SIDE, 3)
    assert x.dtype == np.uint8
    assert np.bincount(y).tolist() == [10] * 10
    saturation = [float(cv2.cvtColor(each, cv2.COLOR_RGB2HSV)[..., 1].mean()) for each in x]
    assert float(np.median(saturation)) > 40
    assert all(float(each.std()) > 10 for each in x)


def test_parts_share_no_picture() -> None:
    drawn = [pictures(part, 50, 0)[0] for part in PARTS]
    for one, other in itertools.combinations(drawn, 2):
        assert not {each.tobytes() for each in one} & {each.tobytes() for each in other}


def test_the_file_is_as_keras_names_it_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    write_data(tmp_path / "one.npz", FEW, 0)
    write_data(tmp_path / "two.npz", FEW, 0)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as file:
        shapes = {name: file[name].shape for name in file.files}
        x_test = file["x_test"]
        training = file["x_train"]
    assert shapes == {
        "x_train": (70, SIDE, SIDE, 3),
        "y_train": (70,),
        "x_test": (30, SIDE, SIDE, 3),
        "y_test": (30,),
    }
    assert (x_test == pictures("held_out", 30, 0)[0]).all()
    assert (training[:60] == pictures("training", 60, 0)[0]).all()
    assert (training[60:] == pictures("validation", 10, 0)[0]).all()


def test_the_short_form_has_something_of_every_class_in_each_part() -> None:
    assert SHORT.training // 7 >= 100
    assert SHORT.held_out % 10 == 0
