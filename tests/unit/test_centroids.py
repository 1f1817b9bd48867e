"""A grid of scores becomes the middles of objects, in the frame's own terms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.pipeline import Pipeline
from edge.decoders.centroids import CentroidsOptions
from edge.errors import DecodeError
from edge.geometry import Geometry
from edge.tensors import TensorSpec
from edge.worker.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge.decoders.base import Decoder, Prediction

FRAME = Geometry(width=400, height=200)
A_CELL = ("label", "index", "score", "x", "y", "x_px", "y_px", "cells")


def an_output(
    *shape: int, dtype: str = "int8", scale: float = 1 / 256, zero_point: int = -128
) -> TensorSpec:
    return TensorSpec("grid", shape, dtype, scale, zero_point)


def decoder(output: TensorSpec, *, labels: Sequence[str] = (), **fields: Any) -> Decoder:
    return CentroidsOptions(type="centroids", **fields).make([output], labels)


def a_grid(
    rows: int, columns: int, classes: int, scores: dict[tuple[int, int, int], float]
) -> NDArray[Any]:
    """Return int8 [1, rows, columns, classes] with these real scores [row, column, class]."""
    grid = np.full((1, rows, columns, classes), -128, np.int8)
    for place, score in scores.items():
        grid[0][place] = round(score * 256) - 128
    return grid


def decoded(grid: NDArray[Any], geometry: Geometry = FRAME, **fields: Any) -> list[Prediction]:
    return decoder(an_output(*grid.shape), **fields)([grid], geometry)


# Which cells, and what they make together.


def test_a_cell_is_an_object_with_its_label_score_and_middle_in_the_frame() -> None:
    grid = a_grid(4, 8, 3, {(1, 2, 2): 0.75})
    assert decoded(grid, labels=["nothing", "cat", "dog"]) == [
        dict(zip(A_CELL, ("dog", 2, 0.75, 0.3125, 0.375, 125, 75, 1), strict=True))
    ]


def test_where_nothing_reaches_the_threshold_there_is_no_object() -> None:
    assert decoded(a_grid(3, 3, 2, {(1, 1, 1): 0.375})) == []
    assert len(decoded(a_grid(3, 3, 2, {(1, 1, 1): 0.375}), threshold=0.375)) == 1


def test_the_background_is_no_object_however_sure_it_is() -> None:
    scores = {(row, column, 0): 0.99 for row in range(3) for column in range(3)}
    assert decoded(a_grid(3, 3, 2, scores)) == []
    assert len(decoded(a_grid(3, 3, 2, scores), background=1)) == 1
    assert len(decoded(a_grid(3, 3, 2, scores), background=None)) == 1


@pytest.mark.parametrize("other", [(0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (2, 2), (0, 2), (2, 0)])
def test_cells_of_a_class_that_touch_are_one_object(other: tuple[int, int]) -> None:
    (found,) = decoded(a_grid(3, 3, 2, {(1, 1, 1): 0.75, (*other, 1): 0.75}))
    assert found["cells"] == 2
    assert (found["y"], found["x"]) == pytest.approx(
        [(1 + other[0] + 1) / 6, (1 + other[1] + 1) / 6], abs=1e-4
    )


def test_cells_that_do_not_touch_are_objects_of_their_own() -> None:
    found = decoded(a_grid(3, 5, 2, {(1, 0, 1): 0.75, (1, 2, 1): 0.75, (1, 4, 1): 0.75}))
    assert [each["x"] for each in found] == [0.1, 0.5, 0.9]


def test_cells_of_different_classes_are_different_objects_though_they_touch() -> None:
    found = decoded(a_grid(1, 2, 3, {(0, 0, 1): 0.75, (0, 1, 2): 0.875}))
    assert [(each["index"], each["cells"]) for each in found] == [(2, 1), (1, 1)]


def test_a_cell_is_of_its_best_class_only() -> None:
    found = decoded(
        a_grid(1, 1, 4, {(0, 0, 1): 0.25, (0, 0, 2): 0.5, (0, 0, 3): 0.25}), threshold=0
    )
    assert [each["index"] for each in found] == [2]


def test_the_middle_lies_nearer_to_the_surer_cell_and_the_best_score_is_told() -> None:
    (found,) = decoded(a_grid(1, 2, 2, {(0, 0, 1): 0.75, (0, 1, 1): 0.25}), threshold=0.25)
    assert found["score"] == 0.75
    assert found["x"] == pytest.approx((0.75 * 0.25) + (0.25 * 0.75))


def test_objects_come_best_first_and_of_equal_ones_the_upper_left_one() -> None:
    scores = {(0, 0, 1): 0.5, (0, 4, 1): 0.875, (2, 4, 1): 0.5, (2, 0, 1): 0.5}
    found = decoded(a_grid(3, 5, 2, scores))
    assert [(each["score"], each["y_px"] // 67, each["x_px"] // 80) for each in found] == [
        (0.875, 0, 4),
        (0.5, 0, 0),
        (0.5, 2, 0),
        (0.5, 2, 4),
    ]


def test_no_more_than_so_many_are_told_and_they_are_the_best() -> None:
    scores = {(0, column, 1): 0.5 + column / 32 for column in range(0, 12, 2)}
    found = decoded(a_grid(1, 12, 2, scores), max_objects=2)
    assert [each["x_px"] for each in found] == [350, 283]


@settings(deadline=None)
@given(
    values=st.lists(st.integers(-128, 127), min_size=6 * 7 * 3, max_size=6 * 7 * 3),
    threshold=st.integers(1, 255).map(lambda steps: steps / 256),
)
def test_it_is_what_opencv_finds_in_the_real_scores(values: list[int], threshold: float) -> None:
    grid = np.array(values, np.int8).reshape(1, 6, 7, 3)
    real = (grid[0].astype(float) + 128) / 256
    expected = []
    for index in (1, 2):
        mask = (real[..., index] >= threshold) & (real[..., 1:].argmax(axis=-1) + 1 == index)
        count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for part in range(1, count):
            score = real[..., index][parts == part]
            rows, columns = np.nonzero(parts == part)
            place = np.average(columns + 0.5, weights=score), np.average(rows + 0.5, weights=score)
            expected.append((index, len(rows), score.max(), place[0] / 7, place[1] / 6))
    found = [
        (each["index"], each["cells"], each["score"], each["x"], each["y"])
        for each in decoded(grid, threshold=threshold, max_objects=100)
    ]
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [("uint8", 1 / 256, 0), ("int8", float(np.float32(0.0037)), -120), ("int16", 1 / 32768, 0)],
)
def test_a_threshold_on_quantized_scores_is_one_on_real_scores(
    dtype: str, scale: float, zero_point: int
) -> None:
    limits = np.iinfo(dtype)
    steps = np.unique(np.linspace(zero_point, limits.max, 100).astype(dtype))
    for threshold in (0.05, 0.25, 0.5, 0.75):
        grid = np.zeros((1, 1, 2 * len(steps), 1), dtype)
        grid[..., 0] = limits.min
        grid[0, 0, ::2, 0] = steps  # no two of them touch
        spec = an_output(*grid.shape, dtype=dtype, scale=scale, zero_point=zero_point)
        decode = decoder(spec, background=None, threshold=threshold, max_objects=1000)
        real = scale * (steps.astype(float) - zero_point)
        expected = sorted(real[real >= threshold], reverse=True)
        found = [each["score"] for each in decode([grid], FRAME)]
        assert found == pytest.approx(expected, abs=1e-6)


def test_float_scores_are_real_already_and_what_is_not_finite_is_no_object() -> None:
    grid = np.zeros((1, 1, 5, 2), np.float32)
    grid[0, 0, :, 1] = 0.75, 0, np.inf, 0, np.nan
    spec = an_output(*grid.shape, dtype="float32", scale=0.0, zero_point=0)
    found = decoder(spec)([grid], FRAME)
    assert [each["score"] for each in found] == [0.75]
    json.dumps(found, allow_nan=False)


def test_predictions_hold_builtin_types_only() -> None:
    (found,) = decoded(a_grid(2, 2, 2, {(0, 0, 1): 0.75}))
    assert [type(value) for value in found.values()] == [
        str,
        int,
        float,
        float,
        float,
        int,
        int,
        int,
    ]


# What does not fit.


def test_labels_may_leave_out_the_background_wherever_it_stands() -> None:
    grid = a_grid(1, 3, 3, {(0, 0, 0): 0.75, (0, 2, 2): 0.5})
    named = [each["label"] for each in decoded(grid, labels=["cat", "dog"], background=1)]
    assert named == ["cat", "dog"]
    assert decoded(grid)[0]["label"] == "2"


@pytest.mark.parametrize(
    ("background", "words"), [(0, ", or 3 without the background's"), (None, "")]
)
def test_labels_that_are_not_as_many_are_refused_and_both_are_counted(
    background: int | None, words: str
) -> None:
    wanted = rf"2 labels for 4 classes: .*must be as many{words}, in the order"
    with pytest.raises(DecodeError, match=wanted):
        decoder(an_output(1, 3, 3, 4), labels=["cat", "dog"], background=background)


@pytest.mark.parametrize("shape", [(1, 10), (1, 12, 12), (2, 12, 12, 2), (1, 0, 12, 2), ()])
def test_an_output_that_is_no_grid_of_scores_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError, match=r"wants a grid of scores.*`type: raw`"):
        decoder(an_output(*shape))


def test_a_background_that_the_model_has_not_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"`background: 2` is none of the 2 classes"):
        decoder(an_output(1, 3, 3, 2), background=2)


def test_a_model_of_several_outputs_is_refused() -> None:
    with pytest.raises(DecodeError, match="the model has 2"):
        CentroidsOptions(type="centroids").make([an_output(1, 3, 3, 2)] * 2, [])


def test_a_model_that_is_given_no_pictures_tells_no_places(testdata: Path) -> None:
    with pytest.raises(
        DecodeError, match=r"`centroids` tells places in pictures, and .*\[1, 640\]"
    ):
        prepare(a_pipeline(testdata / "models" / "ad01_int8.tflite"))


# Two models, one frame.


def test_two_models_agree_where_each_finds_what_the_other_does_nearby() -> None:
    options = CentroidsOptions(type="centroids")

    def found(*objects: tuple[str, float, float]) -> list[Prediction]:
        return [{"label": label, "x": x, "y": y} for label, x, y in objects]

    ours = found(("1", 0.2, 0.2), ("1", 0.8, 0.8), ("7", 0.5, 0.5))
    assert options.agrees(ours, found(("7", 0.45, 0.55), ("1", 0.75, 0.8), ("1", 0.2, 0.2)))
    assert not options.agrees(ours, ours[:2])
    assert not options.agrees(ours[:2], ours)
    assert not options.agrees(ours, found(("7", 0.5, 0.5), ("1", 0.2, 0.2), ("1", 0.2, 0.2)))
    assert not options.agrees(ours, found(("4", 0.5, 0.5), ("1", 0.2, 0.2), ("1", 0.8, 0.8)))
    assert options.agrees([], [])


# In the frame, through a real model.


def a_pipeline(model: Path, **fields: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "source": {"type": "synthetic"},
            "model": {"path": model, **fields},
            "decode": {"type": "centroids"},
        }
    )


def test_places_beside_the_frame_are_told_as_on_its_edge() -> None:
    tall = Geometry(width=400, height=200, top=-0.5, down=2.0)  # letterbox: a half above and below
    grid = a_grid(8, 1, 2, {(0, 0, 1): 0.75, (4, 0, 1): 0.625, (7, 0, 1): 0.5})
    found = [(each["y"], each["y_px"]) for each in decoded(grid, tall)]
    assert found == [(0.0, 0), (0.625, 125), (1.0, 199)]


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize(("width", "height"), [(600, 400), (400, 600), (500, 500)])
def test_a_real_model_finds_the_face_where_it_is_however_the_frame_is_resized(
    resize: str, width: int, height: int, testdata: Path
) -> None:
    """A photograph is laid into a larger frame: what is found moves along with it."""
    face = cv2.imread(str(testdata / "images" / "grace_hopper.bmp"))
    assert face is not None
    face = cv2.resize(face, (320, 375), interpolation=cv2.INTER_AREA)
    frame = np.full((height, width, 3), 114, np.uint8)
    left, top = (width - 320) // 2, (height - 375) // 2
    frame[top : top + 375, left : left + 320] = face
    prepared = prepare(a_pipeline(testdata / "models" / "fomo_face_96.tflite", resize=resize))
    tensor = prepared.preprocess.buffer()
    geometry = prepared.preprocess(frame, tensor)
    found = prepared.decode(prepared.engine.run(tensor), geometry)
    # Her face is about 0.5, 0.36 of the photograph, and 140 pixels high here.
    near = [
        each
        for each in found
        if abs(each["x_px"] - left - 160) < 50 and abs(each["y_px"] - top - 130) < 50
    ]
    assert near, found
