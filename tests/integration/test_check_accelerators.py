"""`edge check` on accelerators: what cannot be used now is told, and what never can is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import edge

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
