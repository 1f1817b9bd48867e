"""The golden file of a model that was just made: inputs, and what each engine here answers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.config.pipeline import Pipeline
from edge.supervisor.trial import ask

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEEP = 16


def golden_file(name: str, tflite: bytes, inputs: NDArray[Any], *, keep: int = KEEP) -> bytes:
    """Return the .npz that `edge golden` would write for a model file of this name.

    `inputs` are as the model takes them, quantized, [n, *input shape without its batch]; those
    whose answers say most are kept. Raises ModelError where no engine here runs the model.
    """
    with tempfile.TemporaryDirectory(prefix="edge-golden-") as folder:
        model, out = Path(folder) / name, Path(folder) / "golden.npz"
        model.write_bytes(tflite)
        tensors = Path(folder) / "inputs"
        tensors.mkdir()
        for number, tensor in enumerate(inputs):
            np.save(tensors / f"{number:06}.npy", tensor)
        source = {"type": "images", "path": tensors}
        options = Pipeline.model_validate({"source": source, "model": {"path": model}})
        arguments = (options.model_dump_json(), "", str(keep), str(out))
        ask("edge.worker.make_golden", model, *arguments)
        return out.read_bytes()
