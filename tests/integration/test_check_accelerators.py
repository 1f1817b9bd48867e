"""The commands on accelerators: what cannot be used now is told, and what never can is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import edge

if TYPE_CHECKING:
    from trial_delegate import TrialDelegate

ROOT = Path(__file__).parents[2]
DIGITS = f"path: {ROOT}/models/digits/digits.tflite"


def checked(folder: Path, **models: str) -> tuple[int, str, str]:
    """Check a device with a pipeline for each model; return exit status and what was printed."""
    config = folder / "device.yaml"
    lines = ["mqtt: {broker: embedded}", "pipelines:"]
    for name, model in models.items():
        lines += [f"  {name}:", "    source: {type: synthetic}", f"    model: {{{model}}}"]
    config.write_text("\n".join(lines), encoding="utf-8")
    done = edge("check", config)
    return done.returncode, done.stdout, done.stderr.replace(str(config), "device.yaml")


def test_a_model_whose_accelerator_is_not_there_is_tried_on_the_cpu_and_that_is_told(
    tmp_path: Path,
) -> None:
    status, said, _ = checked(tmp_path, a=f"{DIGITS}, accelerator: {{library: /nowhere.so}}")
    assert status == 0
    assert "pipeline a: synthetic -> digits.tflite" in said
    assert "note: pipeline a: /nowhere.so, which the accelerator needs, is not installed: " in said
    told = edge("doctor", tmp_path / "device.yaml").stdout
    assert "warning  accelerator: pipeline a: /nowhere.so, which the accelerator needs" in told


def test_a_model_that_may_not_run_on_the_cpu_is_refused_without_its_accelerator(
    tmp_path: Path,
) -> None:
    model = f"{DIGITS}, accelerator: {{library: /nowhere.so}}, fallback: none"
    status, _, told = checked(tmp_path, a=model)
    assert status == 2
    assert told.startswith("edge check: device.yaml:5: pipelines.a.model.accelerator: /nowhere.so,")


def test_a_build_for_the_cpu_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    model = f"{DIGITS}, accelerator: edgetpu, cpu_path: /nowhere.tflite"
    status, _, told = checked(tmp_path, a=model)
    assert status == 2
    assert "pipelines.a.model.cpu_path: /nowhere.tflite: there is no such file" in told


@pytest.mark.parametrize(
    ("first", "second", "wrong"),
    [("any", "any", True), ("usb:0", "usb:0", True), ("usb:0", "usb:1", False)],
)
def test_two_pipelines_cannot_have_one_device(
    first: str, second: str, wrong: bool, tmp_path: Path
) -> None:
    models = {
        name: f"{DIGITS}, accelerator: {{type: edgetpu, device: '{device}'}}"
        for name, device in (("a", first), ("b", second))
    }
    status, _, told = checked(tmp_path, **models)
    assert status == (2 if wrong else 0)
    assert ("pipelines.b.model.accelerator: a may take the Edge TPU" in told) == wrong


def test_a_build_for_the_edge_tpu_needs_one_for_the_cpu(testdata: Path, tmp_path: Path) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    status, _, told = checked(tmp_path, a=f"path: {model}, accelerator: edgetpu")
    assert status == 2
    assert "pipelines.a.model.cpu_path: is missing: " in told
    assert told.endswith("mobilenet_v1_0.25_128_quant.tflite, or write `fallback: none`\n")


def test_a_build_for_the_cpu_that_does_not_fit_is_a_mistake(testdata: Path, tmp_path: Path) -> None:
    models = testdata / "models"
    compiled = f"path: {models}/mobilenet_v1_0.25_128_quant_edgetpu.tflite, accelerator: edgetpu"
    other = f"{compiled}, cpu_path: {models}/mobilenet_v2_1.0_224_quant.tflite"
    status, _, told = checked(tmp_path, a=other)
    assert status == 2
    assert "its input is uint8 [1, 224, 224, 3], that of" in told
    same = f"{compiled}, cpu_path: {models}/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    assert "is compiled for the Edge TPU and cannot run on the CPU" in checked(tmp_path, a=same)[2]
    fits = f"{compiled}, cpu_path: {models}/mobilenet_v1_0.25_128_quant.tflite"
    assert checked(tmp_path, a=fits)[0] == 0


def test_a_part_of_the_model_that_the_cpu_runs_is_told(
    delegate: TrialDelegate, tmp_path: Path
) -> None:
    status, said, _ = checked(tmp_path, a=f"{DIGITS}, accelerator: {delegate.yaml(takes='1')}")
    assert status == 0
    assert "it drives the libtrial.so" in said
    assert "note: pipeline a: libtrial.so takes 1 of the model's " in said


def test_a_model_runs_over_files_on_an_accelerator(delegate: TrialDelegate, testdata: Path) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    picture = testdata / "images/cat_720p.jpg"
    done = edge("infer", model, picture, "--accelerator", delegate.library)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[1] == "286"
    refused = edge("infer", model, picture, "--accelerator", "edgetpu")
    assert refused.returncode == 1
    assert "is not compiled for the Edge TPU" in refused.stderr


def test_only_what_the_cpu_runs_is_tuned_and_measured(tmp_path: Path) -> None:
    checked(tmp_path, a=f"{DIGITS}, accelerator: {{library: /nowhere.so}}, fallback: none")
    config = tmp_path / "device.yaml"
    tuned = edge("tune", config)
    assert tuned.returncode == 2
    assert "a: is left out, for it runs on its nowhere.so alone" in tuned.stderr
    assert "there is nothing to choose" in tuned.stderr
    measured = edge("bench", "--pipeline", config)
    assert measured.returncode == 2
    assert "a runs on its nowhere.so, and only what the CPU runs is measured" in measured.stderr


def test_a_pipeline_with_an_accelerator_is_tuned_for_the_time_without(tmp_path: Path) -> None:
    checked(tmp_path, a=f"{DIGITS}, engine: litert, accelerator: {{library: /nowhere.so}}")
    options = ("--seconds", "0.3", "--turns", "1", "--state-dir", tmp_path)
    tuned = edge("tune", tmp_path / "device.yaml", *options)
    assert tuned.returncode == 0, tuned.stderr
    assert "a: is tuned for when its nowhere.so cannot be used" in tuned.stderr
