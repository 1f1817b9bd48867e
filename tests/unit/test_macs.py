"""Multiply-accumulates: formulas by hand, real models by others' counts and by their engine."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest
from hand_made_model import ABS, CUSTOM, FULLY_CONNECTED, WHILE, hand_made
from tflite.BuiltinOperator import BuiltinOperator

from edge.engines.macs import WITHOUT_MACS, count_macs
from edge.engines.model_file import ModelSummary, read_model_file

ROOT = Path(__file__).parents[2]
Shapes = list["tuple[int, ...] | None"]


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "macs"),
    [
        # one output pixel of one channel sees 3 x 3 pixels of 2 channels
        ("CONV_2D", [(1, 3, 3, 2), (1, 3, 3, 2), (1,)], (1, 1, 1, 1), 18),
        ("CONV_2D", [(1, 224, 224, 3), (64, 7, 7, 3), (64,)], (1, 112, 112, 64), 118_013_952),
        # two groups of four channels: the filter tells its group's
        ("CONV_2D", [(1, 5, 5, 8), (6, 1, 1, 4), None], (1, 5, 5, 6), 5 * 5 * 6 * 4),
        ("DEPTHWISE_CONV_2D", [(1, 9, 9, 4), (1, 3, 3, 8), (8,)], (2, 7, 7, 8), 2 * 49 * 8 * 9),
        # each of 4 x 4 inputs of 3 channels is spread over 2 x 2 pixels of 5 channels
        ("TRANSPOSE_CONV", [(4,), (5, 2, 2, 3), (1, 4, 4, 3)], (1, 8, 8, 5), 48 * 4 * 5),
        ("CONV_3D", [(1, 4, 4, 4, 2), (2, 3, 3, 2, 7)], (1, 3, 2, 2, 7), 12 * 7 * 18 * 2),
        (
            "CONV_3D_TRANSPOSE",
            [(5,), (2, 2, 2, 5, 3), (1, 2, 2, 2, 3)],
            (1, 4, 4, 4, 5),
            24 * 8 * 5,
        ),
        ("FULLY_CONNECTED", [(1, 64), (10, 64), (10,)], (1, 10), 640),
        ("FULLY_CONNECTED", [(2, 3, 64), (10, 64), None], (2, 3, 10), 3840),
        ("BATCH_MATMUL", [(3, 2, 5), (3, 5, 7)], (3, 2, 7), 3 * 2 * 7 * 5),
        ("BATCH_MATMUL", [(3, 5, 2), (3, 5, 7)], (3, 2, 7), 3 * 2 * 7 * 5),  # adj_x
        ("BATCH_MATMUL", [(2, 5), (3, 5, 7)], (3, 2, 7), 3 * 2 * 7 * 5),  # broadcast
        ("SVDF", [(2, 16), (32, 16), (32, 10), (32,), (2, 320)], (2, 32), 2 * (512 + 320)),
        ("RNN", [(2, 8), (4, 8), (4, 4), (4,), (2, 4)], (2, 4), 2 * (32 + 16)),
        (
            "UNIDIRECTIONAL_SEQUENCE_RNN",
            [(2, 6, 8), (4, 8), (4, 4), (4,), (2, 4)],
            (2, 6, 4),
            12 * (32 + 16),
        ),
        # four gates of 4 cells on 8 inputs and 4 outputs, in each of 2 x 6 steps
        (
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            [(2, 6, 8), *4 * [(4, 8)], *4 * [(4, 4)], None, None, None, *4 * [(4,)], None, None],
            (2, 6, 4),
            12 * 4 * (32 + 16),
        ),
        # input and forget gate coupled (three gates), and 3 outputs projected from 4 cells
        (
            "LSTM",
            [(1, 8), None, *3 * [(4, 8)], None, *3 * [(4, 3)], *7 * [None], (3, 4), None],
            (1, 3),
            3 * (32 + 12) + 12,
        ),
        ("LSTM", [(1, 8), (1, 4), (16, 12), (16,), (1, 4)], (1, 4), 16 * 12),  # the basic kernel
        ("ADD", [(1, 8), (1, 8)], (1, 8), 0),
        ("AVERAGE_POOL_2D", [(1, 7, 7, 8)], (1, 1, 1, 8), 0),
    ],
)
def test_an_operator_is_counted_from_its_shapes(
    operator: str, inputs: Shapes, output: tuple[int, ...], macs: int
) -> None:
    assert count_macs(operator, inputs, [output]) == macs


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs"),
    [
        ("WHILE", [(1, 4)], [(1, 4)]),
        ("STABLEHLO_DOT_GENERAL", [(4, 4), (4, 4)], [(4, 4)]),
        ("BUILTIN_999", [(1, 4)], [(1, 4)]),
        ("CONV_2D", [(1, 3, 3, 2), (1, 3, 3, 2)], [()]),  # a shape that only the run tells
        ("CONV_2D", [(1, 3, 3, 2), None], [(1, 1, 1, 1)]),
        ("CONV_2D", [(1, 3, 3, 2)], [(1, 1, 1, 1)]),
        ("CONV_2D", [(1, 3, 3, 2), (1, 3, 3, 2)], []),
        ("CONV_2D", [(1, 3, 3, 2), (1, 3, 3, -2)], [(1, 1, 1, 1)]),
        ("FULLY_CONNECTED", [(1, 4), (4, 4)], [()]),
        ("BATCH_MATMUL", [(4,), (4, 4)], [(1, 4)]),
        ("BATCH_MATMUL", [(2, 5), (5, 7)], [(3, 7)]),
        ("SVDF", [(2, 16), None, None], [(2, 32)]),
        ("RNN", [(), (4, 8), (4, 4)], [(2, 4)]),
        ("FULLY_CONNECTED", [(1, 4), (4, 4)], [(2,) * 400_000]),
    ],
)
def test_what_cannot_be_counted_is_not_guessed(
    operator: str, inputs: Shapes, outputs: Shapes
) -> None:
    assert count_macs(operator, inputs, outputs) is None


def test_a_custom_operator_is_never_taken_for_a_builtin_of_its_name() -> None:
    assert count_macs("ADD", [(1, 4)], [(1, 4)], custom=True) is None
    assert count_macs("TFLite_Detection_PostProcess", [], [], custom=True) == 0


def test_operators_without_macs_are_called_as_the_schema_calls_them() -> None:
    assert set(vars(BuiltinOperator)) >= WITHOUT_MACS


# --- files ------------------------------------------------------------------------------


def read_hand_made(tmp_path: Path, **how: Any) -> ModelSummary:
    path = tmp_path / "hand_made.tflite"
    path.write_bytes(hand_made(**how))
    return read_model_file(path)


def test_every_operator_of_the_first_subgraph_is_counted_and_no_other(tmp_path: Path) -> None:
    summary = read_hand_made(
        tmp_path, old_code=FULLY_CONNECTED, reads=(0, 0, -1), shape=(4, 4), operators=3, subgraphs=2
    )
    assert summary.operators == {"FULLY_CONNECTED": 6}
    assert summary.macs_by_operator == {"FULLY_CONNECTED": 3 * 4 * 4 * 4}
    assert summary.macs == 192
    assert summary.uncounted_operators == {}


def test_an_operator_without_macs_is_neither_counted_nor_called_uncounted(tmp_path: Path) -> None:
    summary = read_hand_made(tmp_path, old_code=ABS)
    assert (summary.macs, summary.macs_by_operator, summary.uncounted_operators) == (0, {}, {})


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"old_code": WHILE}, "WHILE"),
        ({"custom": "ADD", "old_code": CUSTOM}, "ADD"),
        ({"old_code": 127, "new_code": 999}, "BUILTIN_999"),
        ({"old_code": FULLY_CONNECTED}, "FULLY_CONNECTED"),  # its weights are left out
    ],
)
def test_an_operator_that_cannot_be_counted_is_named(
    tmp_path: Path, how: dict[str, Any], name: str
) -> None:
    summary = read_hand_made(tmp_path, operators=2, **how)
    assert summary.uncounted_operators == {name: 2}
    assert summary.macs == 0


def test_a_size_left_open_is_told(tmp_path: Path) -> None:
    how: dict[str, Any] = {"old_code": FULLY_CONNECTED, "reads": (0, 0), "shape": (4, 4)}
    assert not read_hand_made(tmp_path, **how).any_size
    summary = read_hand_made(tmp_path, **how, signature=(-1, 4))
    assert summary.any_size
    assert summary.macs == 64


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # MobileNets (Howard et al. 2017), table "MobileNet width multiplier and resolution" as in
        # the model zoo: 14 M; MobileNetV2 (Sandler et al. 2018), table 4: 300 M.
        ("mobilenet_v1_0.25_128_quant", 14),
        ("mobilenet_v2_1.0_224_quant", 301),
        # MLPerf Tiny (Banbury et al. 2021) runs these: 7.5 M, 12.5 M, 0.26 M.
        ("vww_96_int8", 7.5),
        ("pretrainedResnet_quant", 12.5),
        ("ad01_int8", 0.26),
    ],
)
def test_known_models_have_the_macs_they_are_known_for(
    testdata: Path, name: str, millions: float
) -> None:
    macs = read_model_file(testdata / "models" / f"{name}.tflite").macs
    assert macs == pytest.approx(millions * 1e6, rel=0.035)


def test_the_digits_model_is_counted_as_by_hand() -> None:
    summary = read_model_file(ROOT / "models/digits/digits.tflite")
    # 16 channels from 1 at 8x8, 32 from 16 at 8x8, 64 from 32 at 4x4, all 3x3; 256 to 10
    by_hand = 64 * 16 * 9 * 1 + 64 * 32 * 9 * 16 + 16 * 64 * 9 * 32
    assert summary.macs_by_operator == {"CONV_2D": by_hand, "FULLY_CONNECTED": 2560}


@pytest.mark.parametrize(
    "name", ["fomo_face_96", "movenet_single_pose_lightning_ptq", "traffic_model", "okay_nabu"]
)
def test_the_interpreter_s_own_shapes_give_the_same(testdata: Path, name: str) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = testdata / "models" / f"{name}.tflite"
    interpreter = litert.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    shapes = {d["index"]: d["shape"].tolist() for d in interpreter.get_tensor_details()}
    expected: dict[str, int] = {}
    for node in interpreter._get_ops_details():
        if node["op_name"] in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}:
            weights, output = shapes[node["inputs"][1]], shapes[node["outputs"][0]]
            each = prod(weights) // (
                output[-1] if node["op_name"] != "FULLY_CONNECTED" else weights[0]
            )
            expected[node["op_name"]] = expected.get(node["op_name"], 0) + prod(output) * each
    assert read_model_file(path).macs_by_operator == expected
