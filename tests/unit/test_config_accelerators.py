"""Two pipelines of one device cannot have one accelerator."""

from pathlib import Path

import pytest

from edge.config.load import load
from edge.errors import ConfigError

DIGITS = Path(__file__).parents[2] / "models/digits/digits.tflite"


def device(tmp_path: Path, second: str, first: str = "edgetpu") -> Path:
    path = tmp_path / "device.yaml"
    path.write_text(
        f"""device: porch
mqtt: {{broker: embedded}}
pipelines:
  one:
    source: {{type: synthetic, fps: 5}}
    deadline_ms: 100
    model: {{path: {DIGITS}, accelerator: {first}}}
  two:
    source: {{type: synthetic, fps: 5}}
    deadline_ms: 100
    model: {{path: {DIGITS}{second}
""",
        encoding="utf-8",
    )
    return path


def test_any_may_be_the_one_that_is_named(tmp_path: Path) -> None:
    path = device(tmp_path, ", accelerator: {type: edgetpu, device: 'usb:0'}}")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}:11: pipelines.two.model.accelerator: one may take the Edge TPU usb:0 already, and "
        "it serves one pipeline: give each a device of its own by number, or one pipeline the "
        "sources of both"
    )


def test_two_by_number_are_two(tmp_path: Path) -> None:
    first = "{type: edgetpu, device: 'usb:0'}"
    second = ", accelerator: {type: edgetpu, device: 'usb:1'}}"
    assert len(load(device(tmp_path, second, first)).pipelines) == 2


def test_a_rung_counts_as_well_and_rungs_of_one_pipeline_share(tmp_path: Path) -> None:
    model = f"{{path: {DIGITS}, threads: 2, accelerator: edgetpu}}"
    rung = f"{{name: small, model: {model}}}"
    path = device(tmp_path, f"}}\n    ladder: {{rungs: [{rung}]}}")
    with pytest.raises(ConfigError, match=r"two\.ladder\.rungs\[0\]\.model\.accelerator: one may"):
        load(path)
    alone = f", accelerator: edgetpu}}\n    ladder: {{rungs: [{rung}]}}"
    first = "{library: x.so}"
    assert len(load(device(tmp_path, alone, first)).pipelines) == 2
