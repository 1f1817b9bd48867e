"""`edge optimize quantize`, by the command itself: TensorFlow lives in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import start_of_workshop
import yaml

from edge.catalogue.card import check_files, read_card
from edge.engines.batch import BatchEngine
from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.engines.golden import self_test
from edge.engines.model_file import read_model_file

DIGITS = Path(__file__).parents[2] / "models/digits/digits.tflite"
UNTIMED = ("--seconds", "0")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks and data; see `start_of_workshop`."""
    folder = tmp_path_factory.mktemp("start")
    run = [sys.executable, start_of_workshop.__file__, str(folder)]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    return folder


def run_all(commands: list[list[Any]]) -> list[tuple[str, str, str]]:
    """Run `edge optimize quantize` with each of these words; return status, output and errors.

    In one process, for TensorFlow is slow to import.
    """
    script = (
        "import contextlib, io, json, sys; from edge.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    said, complained = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):\n"
        "        status = main(words)\n"
        "    told = [str(status), said.getvalue(), complained.getvalue()]\n"
        "    print(json.dumps(told))"
    )
    words = [["optimize", "quantize", *map(str, each), *UNTIMED] for each in commands]
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(line[0], line[1], line[2]) for line in map(json.loads, done.stdout.splitlines())]


class Made:
    """What the commands of this file made: their cards, and their folders."""

    def __init__(self, folder: Path, cards: dict[str, dict[str, Any]]) -> None:
        self.folder, self.cards = folder, cards

    def model(self, name: str) -> Path:
        return self.folder / name / f"{name}.tflite"


@pytest.fixture(scope="module")
def made(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All that can be quantized, each in a way of its own."""
    folder = tmp_path_factory.mktemp("made")
    pictures, digits = folder / "pictures", start / "digits.npz"
    write_pictures(np.load(digits), pictures)
    commands: dict[str, list[str | Path]] = {
        "whole": [
            *(start / "net.tflite", "--data", digits, "--seed", "3"),
            *("--input-type", "uint8", "--output-type", "float32"),
        ],
        "pictured": [start / "saved", "--data", pictures],
        "cosine": [start / "cosine.keras", "--data", digits],
        "coder": [
            *(start / "coder.keras", "--data", start / "numbers.npz"),
            *("--mode", "int8-weights", "--per-tensor"),
        ],
        "wide": [start / "net.tflite", "--data", digits, "--mode", "int16x8"],
    }
    found = run_all(
        [[*words, "--out", folder / name, "--json"] for name, words in commands.items()]
    )
    assert [status for status, _, _ in found] == ["0"] * len(commands), found
    cards = {name: json.loads(said) for name, (_, said, _) in zip(commands, found, strict=True)}
    return Made(folder, cards)


def write_pictures(data: Any, folder: Path) -> None:
    for at, (image, digit) in enumerate(zip(data["x_train"][:300], data["y_train"], strict=False)):
        into = folder / f"digit {digit}"
        into.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(into / f"{at}.png"), image)


def engine(model: Path) -> Engine:
    return Engine(model, choose("litert", 1), threads=1)


def test_a_keras_network_becomes_an_int8_folder_that_a_device_can_run(
    start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    words = (start / "net.keras", "--data", start / "digits.npz", "--out", out, "--seconds", "0.1")
    done = subprocess.run(
        [sys.executable, "-m", "edge", "optimize", "quantize", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "INFO" not in done.stderr  # what libraries say of themselves

    check_files(read_card(out), out)
    model = out / "small.tflite"
    running = engine(model)
    assert [str(each) for each in (*running.inputs, *running.outputs)] == [
        "int8 [1, 8, 8, 1]",
        "int8 [1, 10]",
    ]
    # A device lets pixel 0..255 span the input: so must the scale, whatever the samples held.
    assert running.inputs[0].scale == pytest.approx(1 / 255)
    assert running.inputs[0].zero_point == -128
    summary = read_model_file(model)
    assert summary.fully_int8
    assert summary.operators == {"CONV_2D": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert 2 in BatchEngine(running, 2).sizes  # it can be resized
    self_test(running, out / "small.golden.npz", steps=0)

    told = yaml.safe_load((out / "card.yaml").read_text())["latency"]
    assert told["float"]["invokes"] > 0
    assert 0 < told["quantized"]["p50_ms"] <= told["quantized"]["p99_ms"]
    ((status, said, _),) = run_all([list(words)])
    assert (status, said.splitlines()[-1]) == ("0", f"the model in {out} before had the same bytes")


def test_the_card_tells_the_truth_about_the_model(start: Path, made: Made) -> None:
    card, data = made.cards["whole"], np.load(start / "digits.npz")
    running = engine(made.model("whole"))
    assert [spec.dtype for spec in (*running.inputs, *running.outputs)] == ["uint8", "float32"]
    images = np.ascontiguousarray(data["x_test"])
    answers = [int(np.argmax(running.run(image[np.newaxis])[0])) for image in images]
    right = int((np.array(answers) == data["y_test"]).sum())
    assert right / 540 > 0.85
    told = card["accuracy"]["quantized"]
    assert told == {"share": round(right / 540, 4), "right": right, "of": 540}

    of_float = engine(start / "net.tflite")
    before = [of_float.run((image[np.newaxis] / 255).astype(np.float32))[0] for image in images]
    same = sum(int(np.argmax(one)) == other for one, other in zip(before, answers, strict=True))
    assert card["agreement"]["top_1_same_as_float"]["right"] == same
    assert 0 < card["output_error"][0]["rms_error_percent"] < 20
    assert card["size_bytes"]["quantized"] == made.model("whole").stat().st_size
    assert card["left_in_float"] == [
        {"operator": "DEQUANTIZE", "count": 1, "why": "the model's input or output is float32"}
    ]
    assert {layer["layer"] for layer in card["worst_layers"]} & {"first_1", "scores_1"}
    assert card["recipe"]["command"] == (
        "edge optimize quantize net.tflite --data digits.npz --seed 3 --out whole "
        "--input-type uint8 --output-type float32 --seconds 0"
    )
    assert card["recipe"]["same_bytes_when_repeated"] is True
    assert card["runs_on"][f"litert {choose('litert').version}"] == "yes"
    check_files(read_card(made.folder / "whole"), made.folder / "whole")


def test_a_folder_of_pictures_calibrates_and_judges(made: Made) -> None:
    card = made.cards["pictured"]
    assert card["source"]["kind"] == "savedmodel"
    assert (card["data"]["classes"], card["data"]["test"]) == (10, 90)
    assert card["accuracy"]["quantized"]["share"] > 0.8
    labels = (made.folder / "pictured" / "labels.txt").read_text().splitlines()
    assert labels == [f"digit {number}" for number in range(10)]
    assert engine(made.model("pictured")).inputs[0].dtype == "int8"


def test_what_has_no_int8_form_stays_in_float_and_is_named(made: Made) -> None:
    between = "stands between what is left in float and what is not"
    found = made.cards["cosine"]["left_in_float"]
    assert {each["operator"]: each["why"] for each in found} == {
        "COS": "the converter has no int8 form of it",
        "DEQUANTIZE": between,
        "QUANTIZE": between,
    }


def test_what_is_no_classifier_is_judged_by_its_outputs_alone(made: Made) -> None:
    card = made.cards["coder"]
    assert not {"accuracy", "agreement"} & set(card)
    assert card["pipeline"] == {}
    assert card["output_error"][0]["shape"] == [1, 6]
    assert {each["why"] for each in card["left_in_float"]} == {
        "activations are float32 in this mode, only weights are int8"
    }
    assert [each["dtype"] for each in card["input"] + card["output"]] == ["float32", "float32"]


def test_with_activations_of_16_bits_a_device_still_has_a_float_input(made: Made) -> None:
    running = engine(made.model("wide"))
    assert [spec.dtype for spec in (*running.inputs, *running.outputs)] == ["float32", "float32"]
    assert made.cards["wide"]["output_error"][0]["rms_error_percent"] < 2


def test_what_cannot_be_quantized_is_refused_in_one_line_and_nothing_is_written(
    start: Path, tmp_path: Path, testdata: Path
) -> None:
    twelve = tmp_path / "twelve.npz"
    np.savez(twelve, x=np.zeros((120, 8, 8)), y=np.arange(120) % 12)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    whole, edgetpu = (start / "net.tflite").read_bytes(), "mobilenet_v1_0.25_128_quant_edgetpu"
    (tmp_path / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    data, out, notes = start / "digits.npz", tmp_path / "out", tmp_path / "notes"
    cases: dict[str, list[str | Path]] = {
        "holds Python code (a Lambda layer": [start / "code.keras", data, out],
        "is no .keras file, or is cut off": [start / "cut.keras", data, out],
        "is cut short or damaged": [tmp_path / "cut.tflite", data, out],
        "is quantized already": [DIGITS, data, out],
        "is compiled for the Edge TPU": [testdata / "models" / f"{edgetpu}.tflite", data, out],
        "the data has 12 classes, and the model's output": [start / "net.keras", twelve, out],
        "takes samples of [6]": [start / "coder.keras", data, out],
        "is there already, and is no model's folder": [start / "net.keras", data, notes],
        "can be float32 or int16, not int8": [
            *(start / "net.keras", data, out, "--mode", "int16x8", "--input-type", "int8")
        ],
        "`mean` and `std` go together": [start / "net.keras", data, out, "--mean", "127.5"],
    }  # fmt: skip
    found = run_all(
        [[model, "--data", data, "--out", out, *more] for model, data, out, *more in cases.values()]
    )
    for said, (status, _, complained) in zip(cases, found, strict=True):
        assert status in {"1", "2"}
        assert complained.startswith("edge optimize: ")
        assert len(complained.splitlines()) == 1
        assert said in complained
    assert not out.exists()
    assert [path.name for path in notes.iterdir()] == ["diary.txt"]


def test_without_the_extra_one_sentence_says_how_to_install_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from edge.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["optimize", "quantize", "any.keras", "--data", "any.npz", "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("edge optimize: the workshop's packages are not installed")
    assert "pip install 'edge-runtime[workshop]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
