"""Several frames in one forward pass: the same answers as one by one, or a reason why not."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hand_made_model import hand_made

from edge.engines.batch import BatchEngine
from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.engines.noise import random_tensor
from edge.errors import BatchError

FLOAT32, LOG_SOFTMAX, EXP = 0, 50, 47  # of the schema's TensorType and BuiltinOperator
BOTH = pytest.mark.parametrize("name", ["litert", "tflite-runtime"])


def engine(path: Path, name: str = "litert") -> Engine:
    if name == "tflite-runtime" and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    return Engine(path, choose(name), threads=1)


@BOTH
@pytest.mark.parametrize(
    "model",
    ["vww_96_int8", "pretrainedResnet_quant", "ad01_int8", "str_ww_ref_model", "fomo_face_96"],
)
def test_each_frame_of_a_batch_gets_its_own_answer(model: str, name: str, testdata: Path) -> None:
    single = engine(testdata / f"models/{model}.tflite", name)
    batch = BatchEngine(single, 5)
    assert list(batch.sizes) == [1, 2, 3, 4, 5]
    generator = np.random.default_rng(1)
    frames = [random_tensor(single.inputs[0], generator) for _ in range(5)]
    expected = [single.run(frame) for frame in frames]
    assert any(not np.array_equal(expected[0][0], other[0]) for other in expected[1:])
    for size in (3, 5, 1, 2, 4, 5):
        answers = batch.run(frames[:size])
        assert len(answers) == size
        for found, wanted in zip(answers, expected, strict=False):
            assert [each.shape for each in found] == [spec.shape for spec in single.outputs]
            assert [each.dtype for each in found] == [each.dtype for each in wanted]
            for one, other in zip(found, wanted, strict=True):
                assert np.max(np.abs(one.astype(int) - other.astype(int))) <= 1


def test_answers_stay_when_the_next_batch_runs(testdata: Path) -> None:
    single = engine(testdata / "models/ad01_int8.tflite")
    batch = BatchEngine(single, 2)
    generator = np.random.default_rng(1)
    first, second = ([random_tensor(single.inputs[0], generator) for _ in "ab"] for _ in "ab")
    kept = batch.run(first)
    before = [each[0].copy() for each in kept]
    batch.run(second)
    assert all(np.array_equal(each[0], was) for each, was in zip(kept, before, strict=True))


@BOTH
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mobilenet_v1_0.25_128_quant", r"cannot be resized to 2 frames \(.* says: "),
        ("okay_nabu", "it keeps state from one frame to the next"),
        # One engine stops at the operator that asks for frames it has not, the other passes over.
        ("movenet_single_pose_lightning_ptq", "forward pass failed: gather_nd|not .2, 1, 17, 3."),
    ],
)
def test_a_model_made_for_one_frame_is_refused_and_still_runs_one(
    model: str, reason: str, name: str, testdata: Path
) -> None:
    path = testdata / f"models/{model}.tflite"
    single = engine(path, name)
    with pytest.raises(BatchError, match=reason) as caught:
        BatchEngine(single, 4)
    told = str(caught.value)
    assert told.startswith(f"{path}: cannot run several frames in one forward pass: ")
    assert told.count(str(path)) == 1
    assert "\n" not in told
    (spec,) = single.inputs
    assert [each.shape for each in single.run(random_tensor(spec, np.random.default_rng(1)))] == [
        spec.shape for spec in single.outputs
    ]


@BOTH
def test_a_model_that_mixes_the_frames_is_refused(name: str, tmp_path: Path) -> None:
    """A softmax over the last extent, which is the batch where there is only one."""
    path = tmp_path / "mixing.tflite"
    path.write_bytes(hand_made(old_code=LOG_SOFTMAX, tensor_type=FLOAT32, shape=(1,), reads=(0,)))
    with pytest.raises(BatchError, match="frame 1 of 2 gets another output b than alone"):
        BatchEngine(engine(path, name), 2)


@BOTH
def test_floats_may_be_batched(name: str, tmp_path: Path) -> None:
    path = tmp_path / "exp.tflite"
    path.write_bytes(hand_made(old_code=EXP, tensor_type=FLOAT32, reads=(0,)))
    frames = [np.full((1, 4), value, np.float32) for value in (0, 1, 2)]
    for value, (found,) in enumerate(BatchEngine(engine(path, name), 3).run(frames)):
        assert np.allclose(found, np.exp(np.float32(value)))


def test_a_model_made_for_two_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(hand_made(old_code=EXP, tensor_type=FLOAT32, reads=(0,), shape=(2, 4)))
    with pytest.raises(BatchError, match=r"a \(float32 \[2, 4\]\) has no first extent of 1"):
        BatchEngine(engine(path), 2)


@pytest.mark.parametrize("count", [0, 3])
def test_more_frames_than_it_was_made_for_are_a_mistake(count: int, testdata: Path) -> None:
    batch = BatchEngine(engine(testdata / "models/ad01_int8.tflite"), 2)
    with pytest.raises(ValueError, match=f"{count} frames at once"):
        batch.run([np.zeros((1, 640), np.int8)] * count)
