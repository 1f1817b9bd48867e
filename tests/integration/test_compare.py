"""`edge optimize compare` on real models and real digits."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from commands import edge

from edge.workshop.digits import as_npz

DIGITS = Path(__file__).parents[2] / "models" / "digits"
SHORTLY = ("--seconds", "0.05")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as their recipe exports them."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    path.write_bytes(as_npz(0))
    return path


def test_two_models_of_different_inputs_are_compared_on_the_same_held_out_digits(
    data: Path, testdata: Path, tmp_path: Path
) -> None:
    other = testdata / "models" / "pretrainedResnet_quant.tflite"  # has never seen a digit
    plot = tmp_path / "front.svg"
    done = edge(
        "optimize", "compare", DIGITS, other, "--data", data, *SHORTLY, "--json", "--plot", plot
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["format"], found["data"]["test"], found["data"]["classes"]) == (
        "edge-compare",
        540,
        10,
    )
    digits, resnet = found["models"]
    assert digits["model"] == "digits"
    assert (
        digits["accuracy"]["right"]
        == yaml.safe_load((DIGITS / "card.yaml").read_text())["accuracy"]["int8_correct"]
    )
    assert digits["agreement"] == {"share": 1.0, "right": 540, "of": 540}
    assert digits["p50_to_the_first"] is None
    assert digits["size_bytes"] == (DIGITS / "digits.tflite").stat().st_size
    assert 0 < digits["packed_bytes"] < digits["size_bytes"]
    assert resnet["model"] == "pretrainedResnet_quant.tflite"
    assert resnet["accuracy"]["right"] < 270
    assert resnet["agreement"]["share"] < 0.5
    assert resnet["macs"] > 10 * digits["macs"]
    assert resnet["latency_ms"]["mean"] > digits["latency_ms"]["mean"]
    assert (digits["pareto"], resnet["pareto"]) == (True, False)
    assert len(list(ET.parse(plot).iter("{http://www.w3.org/2000/svg}circle"))) == 6  # noqa: S314


def test_its_table_names_the_data_and_marks_what_nothing_beats(data: Path) -> None:
    file = DIGITS / "digits.tflite"
    done = edge("optimize", "compare", file, "--data", data, *SHORTLY, "--markdown")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "540 samples held out" in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if "digits.tflite" in line]
    assert row.startswith("| * | digits.tflite | 33.3 | ")
    assert "| 99.07% (535 of 540) | 100.00% |" in row


def test_what_will_not_do_is_said_in_a_sentence_before_anything_is_measured(
    data: Path, tmp_path: Path
) -> None:
    def refused(*arguments: str | Path, status: int = 2) -> str:
        done = edge("optimize", "compare", *arguments)
        assert (done.returncode, done.stdout) == (status, "")
        (line,) = done.stderr.splitlines()
        return line

    gone = tmp_path / "gone.tflite"
    assert f"{gone}: there is no such file" in refused(gone, "--data", data)
    assert "is named twice" in refused(DIGITS, f"{DIGITS}/", "--data", data)
    assert "there is no folder" in refused(
        DIGITS, "--data", data, "--plot", tmp_path / "nowhere" / "a.svg"
    )
    assert "--seconds" in refused(DIGITS, "--data", data, "--seconds", "0")
    bad = tmp_path / "bad.tflite"
    bad.write_bytes((DIGITS / "digits.tflite").read_bytes()[:9000])
    assert str(bad) in refused(bad, "--data", data, status=1)
    assert str(tmp_path / "none.npz") in refused(DIGITS, "--data", tmp_path / "none.npz")


def test_models_whose_classes_are_in_another_order_are_not_compared(
    data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(DIGITS, other)
    (other / "labels.txt").write_text("".join(f"{digit}\n" for digit in reversed(range(10))))
    done = edge("optimize", "compare", DIGITS, other, "--data", data, *SHORTLY)
    assert done.returncode == 2
    assert "in another order" in done.stderr
    assert "--labels" in done.stderr


def test_a_model_that_does_not_classify_is_refused(testdata: Path, tmp_path: Path) -> None:
    windows = tmp_path / "windows.npz"
    rng = np.random.default_rng(0)
    np.savez(windows, x=rng.random((40, 640), np.float32), y=np.arange(40) % 2)
    model = testdata / "models" / "movenet_single_pose_lightning_ptq.tflite"
    pictures = tmp_path / "pictures.npz"
    x = rng.integers(0, 256, (20, 16, 16, 3), np.uint8)
    np.savez(pictures, x=x, y=np.arange(20) % 2)
    done = edge("optimize", "compare", model, "--data", pictures, *SHORTLY)
    assert done.returncode == 2
    assert "does not tell 2 classes apart" in done.stderr
    done = edge("optimize", "compare", DIGITS, "--data", windows, *SHORTLY)
    assert done.returncode == 2
    assert "windows.npz" in done.stderr
