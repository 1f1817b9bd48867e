"""Model files read without an interpreter: real ones, hand-made ones and broken ones."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tflite
from hand_made_model import ABS, CUSTOM, hand_made

from edge.engines import model_file
from edge.engines.model_file import ModelSummary, read_model_file
from edge.errors import ModelError

LOADABLE = (
    "ad01_int8",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "fomo_face_96",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v2_1.0_224_quant",
    "movenet_single_pose_lightning_ptq",
    "okay_nabu",
    "pretrainedResnet_quant",
    "str_ww_ref_model",
    "traffic_model",
    "vww_96_int8",
    "yolov8n_person_192",
)
EDGETPU = "mobilenet_v1_0.25_128_quant_edgetpu"
UNKNOWN_OP = "model_invoking_error"
ALL = (*LOADABLE, EDGETPU, UNKNOWN_OP)

# Bytes behind the last that anything refers to; LiteRT's own check does not miss them either.
UNREFERENCED_TAIL_BYTES = {"traffic_model": 12, EDGETPU: 2}


def model_path(testdata: Path, name: str) -> Path:
    return testdata / "models" / f"{name}.tflite"


def read(testdata: Path, name: str) -> ModelSummary:
    return read_model_file(model_path(testdata, name))


def complaint(path: Path) -> str:
    """Return what is said about a broken file, after its path."""
    with pytest.raises(ModelError) as caught:
        read_model_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    said = message.removeprefix(f"{path}: ")
    assert "; " in said, "what is wrong; what to do"
    return said


def complaint_about(tmp_path: Path, contents: bytes) -> str:
    path = tmp_path / "broken.tflite"
    path.write_bytes(contents)
    return complaint(path)


# --- real models ------------------------------------------------------------------------


def test_a_quantized_classifier_is_described(testdata: Path) -> None:
    summary = read(testdata, "mobilenet_v1_0.25_128_quant")
    contents = model_path(testdata, "mobilenet_v1_0.25_128_quant").read_bytes()
    assert summary.size_bytes == len(contents)
    assert summary.sha256 == hashlib.sha256(contents).hexdigest()
    assert summary.schema_version == 3
    assert summary.min_runtime_version == "1.5.0"
    assert summary.description == "MLIR Converted."
    assert summary.subgraphs == 1
    assert list(summary.operators.items()) == [
        ("CONV_2D", 15),
        ("DEPTHWISE_CONV_2D", 13),
        ("AVERAGE_POOL_2D", 1),
        ("RESHAPE", 1),
        ("SOFTMAX", 1),
    ]
    assert summary.fully_int8
    assert summary.float_operators == {}
    assert not summary.edgetpu
    assert not summary.keeps_state
    assert summary.unknown_custom_ops == ()
    assert 470_000 < summary.parameters_bytes < summary.size_bytes
    (image,) = summary.inputs
    assert (image.name, image.dtype, image.shape) == ("input", "uint8", (1, 128, 128, 3))
    assert (image.scales, image.zero_points) == ((0.0078125,), (128,))
    (scores,) = summary.outputs
    assert (scores.dtype, scores.shape) == ("uint8", (1, 1001))
    assert (scores.scales, scores.zero_points) == ((1 / 256,), (0,))


@pytest.mark.parametrize("name", LOADABLE)
def test_the_interpreter_sees_the_same_model(testdata: Path, name: str) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = model_path(testdata, name)
    summary = read_model_file(path)
    interpreter = litert.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    for ours, theirs in (
        (summary.inputs, interpreter.get_input_details()),
        (summary.outputs, interpreter.get_output_details()),
    ):
        assert [
            (
                tensor.name,
                list(tensor.shape),
                list(tensor.shape_signature),
                tensor.dtype,
                list(tensor.scales),
                list(tensor.zero_points),
                tensor.quantized_dimension,
            )
            for tensor in ours
        ] == [
            (
                detail["name"],
                detail["shape"].tolist(),
                detail["shape_signature"].tolist(),
                detail["dtype"].__name__,
                detail["quantization_parameters"]["scales"].tolist(),
                detail["quantization_parameters"]["zero_points"].tolist(),
                detail["quantization_parameters"]["quantized_dimension"],
            )
            for detail in theirs
        ]
    # The interpreter lists the first subgraph; the summary counts all of them.
    operators = Counter(detail["op_name"] for detail in interpreter._get_ops_details())
    if summary.subgraphs == 1:
        assert summary.operators == operators
    else:
        assert Counter(summary.operators) > operators


@pytest.mark.parametrize("name", ALL)
def test_operators_are_counted_most_frequent_first(testdata: Path, name: str) -> None:
    summary = read(testdata, name)
    counts = list(summary.operators.values())
    assert counts == sorted(counts, reverse=True)
    assert summary.fully_int8 == (not summary.float_operators)
    assert all(count <= summary.operators[op] for op, count in summary.float_operators.items())


def test_what_keeps_a_model_from_being_int8_is_named(testdata: Path) -> None:
    summary = read(testdata, "yolov8n_person_192")
    assert not summary.fully_int8
    assert summary.float_operators == {"DEQUANTIZE": 1}
    assert read(testdata, "movenet_single_pose_lightning_ptq").float_operators["SQRT"] == 1


def test_conversions_between_integers_do_not_count_as_float(testdata: Path) -> None:
    summary = read(testdata, "deeplabv3_mnv2_dm05_pascal_quant")
    assert "QUANTIZE" in summary.operators
    assert summary.fully_int8


def test_an_edge_tpu_build_is_recognized(testdata: Path) -> None:
    summary = read(testdata, EDGETPU)
    assert summary.edgetpu
    assert summary.unknown_custom_ops == ()
    assert summary.inputs == read(testdata, "mobilenet_v1_0.25_128_quant").inputs


def test_an_operator_that_no_runtime_knows_is_named(testdata: Path) -> None:
    summary = read(testdata, UNKNOWN_OP)
    assert summary.operators == {"fake-op-double": 1}
    assert summary.unknown_custom_ops == ("fake-op-double",)
    assert not summary.edgetpu


def test_the_detection_post_process_is_a_known_custom_operator(testdata: Path) -> None:
    summary = read(testdata, "traffic_model")
    assert summary.operators["TFLite_Detection_PostProcess"] == 1
    assert summary.unknown_custom_ops == ()
    assert summary.float_operators == {"TFLite_Detection_PostProcess": 1}
    assert len(summary.inputs) == 3
    assert len(summary.outputs) == 6


@pytest.mark.parametrize("name", LOADABLE)
def test_only_the_streaming_model_keeps_state(testdata: Path, name: str) -> None:
    assert read(testdata, name).keeps_state == (name == "okay_nabu")


def test_a_batch_of_any_size_shows_in_the_signature(testdata: Path) -> None:
    (image,) = read(testdata, "vww_96_int8").inputs
    assert image.shape == (1, 96, 96, 3)
    assert image.shape_signature == (-1, 96, 96, 3)


# --- hand-made models -------------------------------------------------------------------


def read_hand_made(tmp_path: Path, **how: Any) -> ModelSummary:
    path = tmp_path / "hand_made.tflite"
    path.write_bytes(hand_made(**how))
    return read_model_file(path)


@pytest.mark.parametrize(
    "codes",
    [{"old_code": ABS}, {"new_code": ABS}, {"old_code": ABS, "new_code": ABS}],
    ids=["the old field", "the new field", "both fields"],
)
def test_a_builtin_operator_is_told_by_either_field(tmp_path: Path, codes: dict[str, int]) -> None:
    assert read_hand_made(tmp_path, **codes).operators == {"ABS": 1}


def test_an_operator_newer_than_the_schema_is_told_by_its_number(tmp_path: Path) -> None:
    assert read_hand_made(tmp_path, old_code=127, new_code=999).operators == {"BUILTIN_999": 1}


@pytest.mark.parametrize(
    "name",
    [
        "AudioSpectrogram",
        "Mfcc",
        "NumericVerify",
        "TFLite_Detection_PostProcess",
        "aeq.hadamard_rotation",
        "odml.scaled_dot_product_attention",
    ],
)
def test_custom_operators_of_stock_interpreters_are_known(tmp_path: Path, name: str) -> None:
    summary = read_hand_made(tmp_path, custom=name, old_code=CUSTOM)
    assert summary.operators == {name: 1}
    assert summary.unknown_custom_ops == ()


@pytest.mark.parametrize("code", [129, 142, 143, 144], ids=tflite.opcode2name)
def test_operators_on_variables_keep_state(tmp_path: Path, code: int) -> None:
    assert read_hand_made(tmp_path, old_code=127, new_code=code).keeps_state


def test_a_variable_tensor_keeps_state(tmp_path: Path) -> None:
    assert read_hand_made(tmp_path, old_code=ABS, variable=True).keeps_state


@pytest.mark.parametrize(
    ("tensor_type", "dtype"), [(0, "float32"), (1, "float16"), (18, "bfloat16")]
)
def test_every_floating_point_type_counts_as_float(
    tmp_path: Path, tensor_type: int, dtype: str
) -> None:
    summary = read_hand_made(tmp_path, old_code=ABS, tensor_type=tensor_type)
    assert summary.inputs[0].dtype == dtype
    assert summary.float_operators == {"ABS": 1}


def test_control_characters_in_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    summary = read_hand_made(tmp_path, custom="\x1b[2Jboo\n", old_code=CUSTOM, description="a\rb")
    assert summary.unknown_custom_ops == ("\ufffd[2Jboo\ufffd",)
    assert summary.description == "a\ufffdb"


def test_constants_behind_the_flatbuffer_are_counted(tmp_path: Path) -> None:
    bare = len(hand_made(old_code=ABS, behind=(1000, 24)))
    path = tmp_path / "large.tflite"
    path.write_bytes(hand_made(old_code=ABS, behind=(bare, 24)) + bytes(24))
    assert read_model_file(path).parameters_bytes == 24
    path.write_bytes(hand_made(old_code=ABS, behind=(bare, 24)) + bytes(23))
    assert "is cut short or damaged" in complaint(path)


# --- broken files -----------------------------------------------------------------------


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert complaint(tmp_path / "absent.tflite") == "there is no such file; check the path"
    (tmp_path / "a_file").touch()
    assert "no such file" in complaint(tmp_path / "a_file" / "model.tflite")


def test_a_directory_is_told(tmp_path: Path) -> None:
    assert "is a directory" in complaint(tmp_path)


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tflite"
    os.mkfifo(pipe)
    assert "is not a regular file" in complaint(pipe)


def test_a_file_of_somebody_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(hand_made(old_code=ABS))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, who may run this test, reads everything
    assert "may not be read by this user" in complaint(path)


def test_an_unreadable_path_is_told(tmp_path: Path) -> None:
    loop = tmp_path / "loop.tflite"
    loop.symlink_to(loop)
    assert "cannot be read (" in complaint(loop)
    assert "cannot be read (" in complaint(Path("model\0.tflite"))


def test_a_file_too_large_for_a_device_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(model_file.MAX_MODEL_BYTES + 1)  # sparse: takes no disk
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    assert "are not read; use a smaller model" in complaint(path)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "is empty"),
        (b"cat\ndog\n", "is a text file"),
        ("Häuser\n".encode() * 200, "is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"PK\x03\x04" + bytes(60), "is a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "is a Keras model"),
        (b"\x01\x02\xff", "is only 3 bytes long"),
        (b"\x1c\0\0\0TFL2" + bytes(90), "bytes 4 to 8 are not `TFL3`"),
        (b"\x1c\0\0\0TFL3", "is cut short or damaged"),
        (b"\x1c\0\0\0TFL3" + bytes(90), "holds no subgraph"),
        (b"\xff\xff\xff\xffTFL3" + bytes(90), "is cut short or damaged"),
        (b"\0\0\0\0TFL3", "holds no subgraph"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(tmp_path: Path, contents: bytes, said: str) -> None:
    assert said in complaint_about(tmp_path, contents)


def test_random_bytes_are_told(tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311
    for size in (8, 100, 5000):
        assert "is not a TFLite model" in complaint_about(tmp_path, chance.randbytes(size))
        assert ";" in complaint_about(tmp_path, b"\x10\0\0\0TFL3" + chance.randbytes(size))


def test_a_model_without_a_subgraph_is_told(tmp_path: Path) -> None:
    assert "holds no subgraph" in complaint_about(tmp_path, hand_made(old_code=ABS, subgraphs=0))


def test_a_custom_operator_without_a_name_is_told(tmp_path: Path) -> None:
    assert "without a name" in complaint_about(tmp_path, hand_made(old_code=CUSTOM))


def test_a_type_that_nobody_knows_is_told(tmp_path: Path) -> None:
    assert "type 99" in complaint_about(tmp_path, hand_made(old_code=ABS, tensor_type=99))


def test_a_small_file_that_claims_to_be_enormous_is_refused_soon(tmp_path: Path) -> None:
    contents = hand_made(old_code=ABS, subgraphs=30_000, operators=30_000)
    started = time.monotonic()
    assert "more parts than any real model" in complaint_about(tmp_path, contents)
    assert "text of more than 1 MB" in complaint_about(
        tmp_path, hand_made(old_code=ABS, description="x" * (1 << 21))
    )
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", ALL)
def test_a_model_cut_short_anywhere_is_told(testdata: Path, tmp_path: Path, name: str) -> None:
    contents = model_path(testdata, name).read_bytes()
    # Some files carry their labels as a zip archive behind the model: losing those harms nothing.
    packed_labels = contents.find(b"PK\x03\x04")
    end = packed_labels if packed_labels > 0 else len(contents)
    end -= UNREFERENCED_TAIL_BYTES.get(name, 0)
    chance = random.Random(name)  # noqa: S311
    sizes = {*range(0, 100, 7), *range(end - 20, end), *(chance.randrange(end) for _ in range(40))}
    path = tmp_path / "cut.tflite"
    for size in sizes:
        path.write_bytes(contents[:size])
        complaint(path)


@pytest.mark.parametrize("name", ALL)
def test_flipped_bits_give_a_summary_or_a_model_error(
    testdata: Path, tmp_path: Path, name: str
) -> None:
    contents = model_path(testdata, name).read_bytes()
    chance = random.Random(name)  # noqa: S311
    path = tmp_path / "flipped.tflite"
    for round_ in range(60):
        flipped = bytearray(contents)
        # The graph lies at both ends of a file, the weights between them.
        start = 0 if round_ % 2 else max(0, len(contents) - 50_000)
        end = min(len(contents), start + 50_000)
        for _ in range(chance.choice((1, 5, 200))):
            flipped[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        started = time.monotonic()
        try:
            assert read_model_file(path).size_bytes == len(contents)
        except ModelError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - either way is right
        assert time.monotonic() - started < 5
