from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.config.model import Model
from edge.errors import ConfigError
from edge.workshop.data import Input, read_data

GREY, COLOUR = (4, 4, 1), (4, 4, 3)


def form(shape: tuple[int, ...] = GREY, **options: Any) -> Input:
    return Input(shape, Model(path=Path("any.keras"), **options))


def write_picture(path: Path, value: int | tuple[int, int, int], side: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((side, side, 3), value, np.uint8))


def class_folders(root: Path, classes: int = 3, each: int = 10) -> Path:
    for number in range(classes):
        for at in range(each):
            write_picture(root / str(number) / f"{at}.png", 10 * number + at)
    return root


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_folder_of_class_folders_is_split_in_proportion_and_shares_no_picture(
    tmp_path: Path,
) -> None:
    data = read_data(class_folders(tmp_path / "data"), form(), seed=1)
    assert data.classes == ["0", "1", "2"]
    assert [len(part) for part in (data.training, data.validation, data.test)] == [18, 3, 9]
    assert np.bincount(data.test.y).tolist() == [3, 3, 3]
    assert data.training.x.dtype == np.float32
    assert data.training.y.dtype == np.int64
    # What is in a picture tells which it is: 10 * class + number, but for those alike.
    for part in (data.training, data.validation, data.test):
        assert np.array_equal(np.rint(part.x[:, 0, 0, 0] * 255) // 10, part.y)
    seen = [round(float(v) * 255) for p in (data.training, data.validation, data.test)
            for v in p.x[:, 0, 0, 0]]  # fmt: skip
    assert sorted(seen) == list(range(30))


def test_the_same_seed_gives_the_same_parts_and_another_seed_others(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data")
    once, again, other = (read_data(folder, form(), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(once.test.x, again.test.x)
    assert not np.array_equal(once.test.x, other.test.x)
    assert once.digest == again.digest == other.digest


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    class_folders(tmp_path / "data" / "train", each=8)
    class_folders(tmp_path / "data" / "test", each=2)
    data = read_data(tmp_path / "data", form(), seed=0)
    assert (len(data.training) + len(data.validation), len(data.test)) == (24, 6)


def test_classes_are_sorted_as_numbers_where_they_are_numbers(tmp_path: Path) -> None:
    assert read_data(class_folders(tmp_path / "data", 12, 5), form(), seed=0).classes == [
        str(number) for number in range(12)
    ]


def test_labels_give_the_order_of_the_classes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data")
    data = read_data(folder, form(), seed=0, labels=["2", "x", "1", "0"])
    assert data.classes == ["2", "x", "1", "0"]
    assert set(data.test.y[data.test.x[:, 0, 0, 0] * 255 >= 20]) == {0}


def test_the_digest_of_a_folder_is_that_of_the_lines_of_sha256sum(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data", 2, 5)
    files = sorted(folder.rglob("*.png"))
    said = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n"
        for file in files
    )
    data = read_data(folder, form(), seed=0)
    assert data.digest == hashlib.sha256(said.encode()).hexdigest()


def test_pictures_become_the_input_as_a_device_makes_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("a", "b"):
        for at in range(6):
            write_picture(root / name / f"{at}.png", (255, 51, 0), side=8)  # BGR
    data = read_data(root, form(COLOUR), seed=0)
    assert data.test.x[0, 2, 2].tolist() == pytest.approx([0, 0.2, 1])
    scaled = read_data(root, form(COLOUR, mean=[0, 51, 255], std=[1, 2, 255]), seed=0)
    assert scaled.test.x[0, 2, 2].tolist() == pytest.approx([0, 0, 0])


def test_an_npz_of_8_bit_pictures_is_treated_as_pictures(tmp_path: Path) -> None:
    x = np.zeros((20, 4, 4, 3), np.uint8)
    x[..., 0] = 255  # red
    y = np.arange(20)[:, np.newaxis] % 2  # [n, 1], as keras.datasets has CIFAR's
    path = write_npz(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    data = read_data(path, form(COLOUR), seed=0)
    assert data.pictures
    assert data.test.x[0, 0, 0].tolist() == [1, 0, 0]
    assert data.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_npz_of_numbers_is_taken_as_it_is(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 7))
    path = write_npz(tmp_path / "data.npz", x=x, y=np.arange(30) % 3)
    data = read_data(path, form((7,)), seed=0)
    assert not data.pictures
    assert {row.tobytes() for row in data.test.x} < {row.tobytes() for row in x.astype(np.float32)}


def test_data_without_labels_will_do_where_that_is_said(tmp_path: Path) -> None:
    for at in range(12):
        write_picture(tmp_path / "data" / f"{at}.png", at)
    data = read_data(tmp_path / "data", form(), seed=0, labelled=False)
    assert (data.classes, len(data.test.y), len(data.test)) == ([], 0, 4)
    with pytest.raises(ConfigError, match=r"data: has no labels: put its pictures into a folder"):
        read_data(tmp_path / "data", form(), seed=0)


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    def told(name: str) -> str:
        with pytest.raises(ConfigError) as caught:
            read_data(tmp_path / name, form(), seed=0)
        return str(caught.value)

    assert "there is no such folder" in told("none")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in told("empty")
    class_folders(tmp_path / "one", classes=1)
    assert "all samples are of one class, '0'" in told("one")
    class_folders(tmp_path / "few", each=2)
    assert "at least 5 are needed" in told("few")
    write_picture(class_folders(tmp_path / "stray") / "stray.png", 1)
    assert "stray.png: lies in" in told("stray")
    (class_folders(tmp_path / "broken") / "1" / "3.png").write_bytes(b"no picture")
    assert "3.png: is no image that OpenCV can read" in told("broken")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.zeros(3)}, "must hold x and y, or x_train"),
        ({"x": np.zeros((20, 5)), "y": np.arange(20) % 2}, r"takes samples of \[4, 4, 1\]"),
        ({"x": np.full((20, 4, 4), np.nan), "y": np.arange(20) % 2}, "sample 0 holds NaN"),
        ({"x": np.zeros((20, 4, 4)), "y": np.arange(19) % 2}, "x has 20 samples, y 19 labels"),
        ({"x": np.zeros((20, 4, 4)), "y": np.zeros(20)}, "must be the index"),
        ({"x": np.zeros((20, 4, 4)), "y": np.zeros(20, int)}, "all samples are of one class"),
        ({"x": np.array(["a"] * 20), "y": np.arange(20) % 2}, "must hold numbers"),
        ({"x": np.array([{}] * 20), "y": np.arange(20) % 2}, "pickled objects"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_npz_is_said(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    path = write_npz(tmp_path / "data.npz", **arrays)
    with pytest.raises(ConfigError, match=said):
        read_data(path, form(), seed=0)


def test_a_truncated_npz_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz", x=np.zeros((20, 4, 4)), y=np.arange(20) % 2)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ConfigError, match=r"data.npz: is no .npz file, or is damaged"):
        read_data(path, form(), seed=0)


def test_the_range_of_a_pixel_follows_mean_and_std() -> None:
    assert form().pixel_range == (0, 1)
    assert form(mean=127.5, std=127.5).pixel_range == (-1, 1)
    assert form(COLOUR, mean=[0, 255, 0], std=[255, 255, 51]).pixel_range == (-1, 5)
