"""Output tensors become predictions in real units, in builtin types only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.pipeline import Pipeline
from edge.decoders.base import alike
from edge.decoders.classification import ClassificationOptions
from edge.decoders.raw import RawOptions
from edge.errors import DecodeError
from edge.geometry import NO_PICTURE
from edge.tensors import TensorSpec
from edge.worker.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge.decoders.base import Decoder, Prediction

    WithoutPlaces = Callable[[Sequence[NDArray[Any]]], list[Prediction]]

SOFTMAX = (0.00390625, -128)  # int8, as TFLite quantizes every softmax


def an_output(
    *shape: int, dtype: str = "int8", scale: float = SOFTMAX[0], zero_point: int = SOFTMAX[1]
) -> TensorSpec:
    return TensorSpec("scores", shape, dtype, scale, zero_point)


def classification(
    output: TensorSpec, *, labels: Sequence[str] = (), **fields: Any
) -> WithoutPlaces:
    options = ClassificationOptions(type="classification", **fields)
    return without_places(options.make([output], labels))


def of(*scores: float, dtype: str = "int8") -> NDArray[Any]:
    return np.array([scores], dtype)  # [1, N]


def answer(predictions: list[Prediction]) -> list[int]:
    return [prediction["index"] for prediction in predictions]


def raw(*outputs: TensorSpec, **fields: Any) -> WithoutPlaces:
    return without_places(RawOptions(type="raw", **fields).make(outputs, []))


def without_places(decode: Decoder) -> WithoutPlaces:
    return lambda tensors: decode(tensors, NO_PICTURE)


# Classification: which classes.


def test_the_best_class_comes_with_its_label_index_and_real_score() -> None:
    decode = classification(an_output(1, 4), labels=["cat", "dog", "owl", "ant"])
    assert decode([of(-128, -100, 0, -28)]) == [{"label": "owl", "index": 2, "score": 0.5}]


def test_without_labels_a_class_is_named_by_its_index() -> None:
    assert classification(an_output(1, 3))([of(0, 5, 3)])[0]["label"] == "1"


def test_the_top_k_come_best_first() -> None:
    decode = classification(an_output(1, 6), top_k=3)
    assert answer(decode([of(-10, 40, -128, 41, 127, 0)])) == [4, 3, 1]


@pytest.mark.parametrize("top_k", [1, 2, 3, 4, 5])
def test_of_equal_scores_the_lower_index_comes_first(top_k: int) -> None:
    decode = classification(an_output(1, 5), top_k=top_k)
    assert answer(decode([of(9, 20, 9, 20, 9)])) == [1, 3, 0, 2, 4][:top_k]
    assert answer(decode([of(7, 7, 7, 7, 7)])) == [0, 1, 2, 3, 4][:top_k]


def test_more_than_there_are_classes_are_all_of_them() -> None:
    assert answer(classification(an_output(1, 3), top_k=1000)([of(1, 3, 2)])) == [1, 2, 0]


@settings(deadline=None)
@given(
    scores=st.lists(st.integers(-128, 127), min_size=1, max_size=60),
    top_k=st.integers(1, 70),
    threshold=st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
)
def test_it_is_what_sorting_all_the_real_scores_gives(
    scores: list[int], top_k: int, threshold: float
) -> None:
    decode = classification(an_output(1, len(scores)), top_k=top_k, threshold=threshold)
    real = [(score + 128) / 256 for score in scores]
    order = sorted(range(len(scores)), key=lambda index: (-real[index], index))[:top_k]
    expected = [index for index in order if real[index] >= threshold]
    assert answer(decode([of(*scores)])) == expected


# Classification: scores and thresholds.


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [
        ("uint8", 0.00390625, 0),
        ("int8", 0.00390625, -128),
        ("uint8", float(np.float32(0.1)), 128),
        ("int8", float(np.float32(1 / 255)), -128),
        ("int8", float(np.float32(0.17301)), 31),
    ],
)
def test_a_threshold_on_quantized_scores_is_one_on_real_scores_for_all_256_values(
    dtype: str, scale: float, zero_point: int
) -> None:
    quantized = np.arange(256).astype(np.uint8).astype(dtype)
    real = scale * (quantized.astype(np.float64) - zero_point)
    thresholds = [0.0, 0.05, 0.1, 0.5, 0.7, 1.0, -1.0, 100.0, *real.tolist()]
    spec = an_output(1, 256, dtype=dtype, scale=scale, zero_point=zero_point)
    for threshold in thresholds:
        decode = classification(spec, top_k=256, threshold=threshold)
        assert set(answer(decode([quantized[None]]))) == set(np.flatnonzero(real >= threshold))


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [("uint8", 0.0078125, 7), ("int8", 0.0196078431, -3), ("int16", 3.0518e-05, 0)],
)
def test_scores_are_dequantized_by_the_affine_rule(
    dtype: str, scale: float, zero_point: int
) -> None:
    limits = np.iinfo(dtype)
    scores = np.linspace(limits.min, limits.max, 50).astype(dtype)
    spec = an_output(1, 50, dtype=dtype, scale=scale, zero_point=zero_point)
    predictions = classification(spec, top_k=50, threshold=-1e9)([scores[None]])
    assert len(predictions) == 50
    for prediction in predictions:
        real = scale * (int(scores[prediction["index"]]) - zero_point)
        assert prediction["score"] == pytest.approx(real, abs=1e-6)


def test_float_scores_are_real_already() -> None:
    spec = an_output(1, 4, dtype="float32", scale=0.0, zero_point=0)
    decode = classification(spec, top_k=4, threshold=0.25)
    predictions = decode([of(0.125, 0.75, 0.25, -3.0, dtype="float32")])
    assert [(each["index"], each["score"]) for each in predictions] == [(1, 0.75), (2, 0.25)]


def test_a_zero_point_without_a_scale_means_nothing() -> None:
    spec = an_output(1, 2, dtype="float32", scale=0.0, zero_point=5)
    assert classification(spec)([of(1.5, 0.5, dtype="float32")])[0]["score"] == 1.5


@pytest.mark.parametrize("top_k", [1, 3])
def test_when_no_class_reaches_the_threshold_there_is_no_prediction(top_k: int) -> None:
    decode = classification(an_output(1, 3), top_k=top_k, threshold=0.9)
    assert decode([of(0, 1, 2)]) == []


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 3), (1, 1, 1, 3)])
def test_a_row_of_scores_may_have_any_number_of_axes_of_one(shape: tuple[int, ...]) -> None:
    decode = classification(an_output(*shape), top_k=2)
    assert answer(decode([np.array([5, 9, 7], np.int8).reshape(shape)])) == [1, 2]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("top_k", [1, 3])
def test_predictions_hold_builtin_types_only(dtype: str, top_k: int) -> None:
    scale = 0.0 if dtype == "float32" else 0.5
    decode = classification(an_output(1, 3, dtype=dtype, scale=scale, zero_point=0), top_k=top_k)
    for prediction in decode([of(1, 2, 3, dtype=dtype)]):
        assert [type(value) for value in prediction.values()] == [str, int, float]


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("score", [float("inf"), float("nan")])
def test_scores_that_are_not_finite_make_no_prediction_that_json_cannot_hold(
    score: float, top_k: int
) -> None:
    spec = an_output(1, 3, dtype="float32", scale=0.0, zero_point=0)
    predictions = classification(spec, top_k=top_k)([of(0.5, score, 0.25, dtype="float32")])
    json.dumps(predictions, allow_nan=False)


# Classification: what does not fit.


def test_labels_that_are_not_as_many_as_the_classes_are_refused_and_both_are_counted() -> None:
    with pytest.raises(DecodeError, match=r"2 labels for 3 classes: .*int8 \[1, 3\]"):
        classification(an_output(1, 3), labels=["cat", "dog"])


@pytest.mark.parametrize("shape", [(1, 12, 12, 2), (2, 3), (1, 3, 1), (1, 0), ()])
def test_an_output_that_is_no_row_of_scores_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError, match=r"wants one row of scores.*`type: raw`"):
        classification(an_output(*shape))


def test_a_model_of_several_outputs_is_refused_and_they_are_listed() -> None:
    outputs = [an_output(1, 10, 4), an_output(1, 10)]
    with pytest.raises(DecodeError, match=r"has 2: int8 \[1, 10, 4\], int8 \[1, 10\]"):
        ClassificationOptions(type="classification").make(outputs, [])


# Raw.


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [
        ("uint8", 0.0078125, 128),
        ("int8", 0.0235, -7),
        ("int16", 3.0518e-05, 0),
        ("int32", 1.2e-4, 0),
    ],
)
def test_raw_values_are_dequantized_as_numpy_does(
    dtype: str, scale: float, zero_point: int
) -> None:
    tensor = np.random.default_rng(5).integers(-100, 100, (1, 5, 7)).astype(dtype)
    spec = TensorSpec("boxes", (1, 5, 7), dtype, scale, zero_point)
    (prediction,) = raw(spec)([tensor])
    expected = (tensor.astype(np.float64).ravel() - zero_point) * scale
    assert prediction["output"] == "boxes"
    assert prediction["shape"] == [1, 5, 7]
    np.testing.assert_allclose(prediction["values"], expected, atol=1e-9)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", float), ("int64", int), ("uint8", int)])
def test_raw_values_without_a_scale_stay_as_they_are(dtype: str, kind: type) -> None:
    tensor = np.array([[3, 1], [4, 1]]).astype(dtype)
    (prediction,) = raw(TensorSpec("x", (2, 2), dtype))([tensor])
    assert prediction["values"] == [3, 1, 4, 1]
    assert {type(value) for value in prediction["values"]} == {kind}
    assert {type(extent) for extent in prediction["shape"]} == {int}


def test_raw_shows_every_output_in_the_models_order() -> None:
    boxes, scores = an_output(1, 2, 2, scale=0.5, zero_point=0), an_output(1, 2)
    predictions = raw(boxes, scores)([np.ones((1, 2, 2), np.int8), of(0, -128)])
    assert [each["shape"] for each in predictions] == [[1, 2, 2], [1, 2]]
    assert [each["values"] for each in predictions] == [[0.5] * 4, [0.5, 0.0]]


def test_raw_values_are_flat_in_c_order_whatever_the_tensors_memory() -> None:
    tensor = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert raw(TensorSpec("x", (2, 3), "float32"))([tensor])[0]["values"] == [0, 1, 2, 3, 4, 5]


def test_raw_values_that_are_not_finite_are_null_for_json_has_no_word_for_them() -> None:
    tensor = np.array([1.5, np.nan, np.inf, -np.inf], np.float32)
    (prediction,) = raw(TensorSpec("x", (4,), "float32"))([tensor])
    assert prediction["values"] == [1.5, None, None, None]


def test_raw_refuses_a_model_whose_results_would_be_too_large() -> None:
    outputs = [an_output(1, 100, 100), an_output(1, 5)]
    with pytest.raises(DecodeError, match=r"10005 numbers .*\[1, 100, 100\].*`max_values: 4096`"):
        raw(*outputs)
    raw(*outputs, max_values=10_005)


# Real models.


def pipeline(testdata: Path, model: str, decode: dict[str, Any], **fields: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "source": {"type": "synthetic"},
            "model": {"path": testdata / "models" / model, **fields},
            "decode": decode,
        }
    )


def test_a_real_classifier_names_a_real_photograph_as_its_reference_does(testdata: Path) -> None:
    options = pipeline(
        testdata,
        "mobilenet_v2_1.0_224_quant.tflite",
        {"type": "classification", "top_k": 3},
        labels=testdata / "labels" / "imagenet_labels.txt",
    )
    prepared = prepare(options)
    tensor = prepared.preprocess.buffer()
    picture = cv2.imread(str(testdata / "images" / "parrot.jpg"))
    assert picture is not None
    prepared.preprocess(picture, tensor)
    outputs = prepared.engine.run(tensor)
    predictions = prepared.decode(outputs, NO_PICTURE)

    scores = outputs[0].ravel()
    best = np.lexsort((np.arange(scores.size), -scores.astype(int)))[:3]
    assert answer(predictions) == best.tolist()
    assert "macaw" in predictions[0]["label"].lower()


def test_a_real_anomaly_model_is_shown_raw(testdata: Path) -> None:
    prepared = prepare(pipeline(testdata, "ad01_int8.tflite", {"type": "raw"}))
    spec = prepared.engine.outputs[0]
    outputs = prepared.engine.run(np.zeros((1, 640), np.int8))
    (prediction,) = prepared.decode(outputs, NO_PICTURE)
    assert prediction["shape"] == [1, 640]
    expected = (outputs[0].ravel().astype(float) - spec.zero_point) * spec.scale
    np.testing.assert_allclose(prediction["values"], expected, atol=1e-9)


# Whether two models agree.


def found(*labels: str, score: float = 0.9) -> list[Prediction]:
    return [{"label": label, "index": 1, "score": score} for label in labels]


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        (found("cat"), found("cat", score=0.4), True),
        (found("cat", "dog"), found("cat"), True),  # the others are not what is acted on
        (found("cat"), found("dog"), False),
        (found("cat"), [], False),
        ([], [], True),
    ],
)
def test_classifications_agree_where_the_best_label_is_the_same(
    ours: list[Prediction], theirs: list[Prediction], agree: bool
) -> None:
    options = ClassificationOptions(type="classification")
    assert options.agrees(ours, theirs) is options.agrees(theirs, ours) is agree


def output(*values: float | None, name: str = "out", shape: tuple[int, ...] = ()) -> Prediction:
    return {"output": name, "shape": list(shape or (1, len(values))), "values": list(values)}


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        ([output(1.0, 100.0)], [output(4.0, 97.0, name="other")], True),  # 5 % of the largest
        ([output(1.0, 100.0)], [output(7.0, 100.0)], False),
        ([output(0.0, 0.0)], [output(0.0, 0.0)], True),
        ([output(0.001)], [output(0.002)], False),
        ([output(1.0, None)], [output(1.0, None)], True),
        ([output(1.0, None)], [output(1.0, 1.0)], False),
        ([output(1.0, 1.0)], [output(1.0, 1.0, shape=(2, 1))], False),
        ([output(1.0)], [output(1.0), output(1.0)], False),
        ([output(3, 4)], [output(3, 5)], False),  # whole numbers are counts, or names
    ],
)
def test_raw_outputs_agree_where_their_numbers_are_alike(
    ours: list[Prediction], theirs: list[Prediction], agree: bool
) -> None:
    options = RawOptions(type="raw")
    assert options.agrees(ours, theirs) is options.agrees(theirs, ours) is agree


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"label": "cat", "score": 0.90}, {"label": "cat", "score": 0.87}, True),
        ({"label": "cat", "score": 0.90}, {"label": "cat", "score": 0.80}, False),
        ({"label": "cat", "box": [0.1, 0.5]}, {"label": "cat", "box": [0.11, 0.51]}, True),
        ({"label": "cat", "box": [0.1, 0.5]}, {"label": "cat", "box": [0.2, 0.5]}, False),
        ({"label": "cat"}, {"label": "cat", "score": 0.9}, False),
        ({"index": 3}, {"index": 4}, False),
    ],
)
def test_what_other_decoders_say_agrees_field_by_field(
    one: Prediction, other: Prediction, same: bool
) -> None:
    assert alike([one], [other]) is alike([other], [one]) is same
