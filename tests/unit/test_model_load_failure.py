"""Why an interpreter refused a model, in one sentence with a cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hand_made_model import ABS, CUSTOM, hand_made

from edge.engines.model_file import explain_load_failure, read_model_file
from edge.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

EDGETPU = "mobilenet_v1_0.25_128_quant_edgetpu"
UNKNOWN_OP = "model_invoking_error"


def model_path(testdata: Path, name: str) -> Path:
    return testdata / "models" / f"{name}.tflite"


def interpreter_says(path: Path) -> str:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    with pytest.raises((RuntimeError, ValueError)) as caught:
        litert.Interpreter(model_path=str(path)).allocate_tensors()
    return str(caught.value)


def explain_hand_made(tmp_path: Path, **how: Any) -> str:
    path = tmp_path / "hand_made.tflite"
    path.write_bytes(hand_made(**how))
    sentence = explain_load_failure(path, interpreter_says(path))
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


def test_an_edge_tpu_build_is_explained_with_its_cpu_build(testdata: Path, tmp_path: Path) -> None:
    path = model_path(testdata, EDGETPU)
    sentence = explain_load_failure(path, interpreter_says(path))
    assert "compiled for the Edge TPU (it holds the operator edgetpu-custom-op)" in sentence
    assert sentence.endswith(str(model_path(testdata, "mobilenet_v1_0.25_128_quant")))
    alone = tmp_path / "alone_edgetpu.tflite"
    alone.write_bytes(path.read_bytes())
    assert explain_load_failure(alone, "").endswith("the file without `_edgetpu`")


def test_an_unknown_operator_is_explained(testdata: Path) -> None:
    path = model_path(testdata, UNKNOWN_OP)
    sentence = explain_load_failure(path, interpreter_says(path))
    assert "uses the operator 'fake-op-double', which no TensorFlow Lite runtime knows" in sentence


def test_an_operator_of_full_tensorflow_is_explained(tmp_path: Path) -> None:
    sentence = explain_hand_made(tmp_path, custom="FlexErf", old_code=CUSTOM)
    assert "'FlexErf' of full TensorFlow" in sentence


def test_an_operator_newer_than_the_runtime_is_explained(tmp_path: Path) -> None:
    sentence = explain_hand_made(tmp_path, old_code=127, new_code=999)
    assert "uses builtin operator number 999, which the installed runtime is too old" in sentence


def test_a_version_newer_than_the_runtime_is_explained(testdata: Path) -> None:
    sentence = explain_load_failure(
        model_path(testdata, "mobilenet_v1_0.25_128_quant"),
        "Didn't find op for builtin opcode 'CONV_2D' version '9'. An older version of this "
        "builtin might be supported. Are you using an old TFLite binary with a newer model?\n",
    )
    assert "uses CONV_2D in version 9, which the installed runtime is too old for" in sentence
    assert "the file asks for TensorFlow 1.5.0 or newer" in sentence


def test_an_operator_of_the_other_runtime_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "hand_made.tflite"
    path.write_bytes(hand_made(custom="aeq.hadamard_rotation", old_code=CUSTOM))
    message = "Encountered unresolved custom op: aeq.hadamard_rotation.\nSee instructions: ..."
    assert "which only ai-edge-litert knows" in explain_load_failure(path, message)


def test_another_schema_is_explained(tmp_path: Path) -> None:
    sentence = explain_hand_made(tmp_path, old_code=ABS, schema=2)
    assert "has schema version 2, and runtimes read version 3" in sentence


def test_a_broken_file_is_explained_as_reading_it_does(tmp_path: Path) -> None:
    path = tmp_path / "empty.tflite"
    path.touch()
    sentence = explain_load_failure(path, "mmap of size 0 requested.")
    with pytest.raises(ModelError) as caught:
        read_model_file(path)
    assert sentence == str(caught.value)


def test_damage_that_only_the_runtime_sees_is_explained(testdata: Path) -> None:
    sentence = explain_load_failure(
        model_path(testdata, "vww_96_int8"), "The model is not a valid Flatbuffer buffer"
    )
    assert "is damaged (the runtime says: not a valid flatbuffer)" in sentence


def test_anything_else_is_passed_on_in_one_line(testdata: Path) -> None:
    path = model_path(testdata, "vww_96_int8")
    assert explain_load_failure(path, "Odd.\n  Very\todd.") == f"{path}: Odd. Very odd."
    assert explain_load_failure(path, "Node 3 failed.Node 3 failed.") == f"{path}: Node 3 failed."
    assert len(explain_load_failure(path, "so long " * 999)) < len(str(path)) + 310
    assert "without a reason" in explain_load_failure(path, " \n")
