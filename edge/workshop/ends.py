"""A model's one input and one output, as its file and its card describe them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.choose import choose
from edge.engines.engine import Engine

if TYPE_CHECKING:
    from edge.tensors import TensorSpec


def ends_of(tflite: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Return what the model file says of its input and its only output."""
    with tempfile.TemporaryDirectory(prefix="edge-workshop-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        engine = Engine(path, choose("auto", 1), threads=1)
    (given,), (answered,) = engine.inputs, engine.outputs
    return given, answered


def on_card(spec: TensorSpec) -> dict[str, Any]:
    """Return a tensor as a card has it."""
    facts = {"shape": list(spec.shape), "dtype": spec.dtype}
    return facts | {"scale": spec.scale, "zero_point": spec.zero_point}
