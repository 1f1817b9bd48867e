"""What a .tflite model answers to samples, by the runtime's own engine, and how right it is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.errors import ConfigError
from edge.workshop.framework import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge.tensors import TensorSpec
    from edge.workshop.data import Part

HALF = 0.5  # a single sigmoid says yes from here on
TWO = 2


@dataclass(frozen=True, slots=True)
class Score:
    """How many of so many."""

    right: int
    of: int

    @property
    def share(self) -> float:
        """As a part of one."""
        return self.right / self.of

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it."""
        return {"share": round(self.share, 4), "right": self.right, "of": self.of}

    def __str__(self) -> str:
        return f"{self.share:.2%} ({self.right:,} of {self.of:,})"


def outputs_of(
    model: Path | bytes,
    x: NDArray[np.float32],
    *,
    engine: str = "auto",
    on_sample: Callable[[], None] = lambda: None,
) -> list[NDArray[Any]]:
    """Run the model on each sample; return its outputs in real units, [n, *shape] each.

    `x` holds real values, [n, *input shape]: they are quantized as the input wants. Outputs
    without a scale stay what they are. Raises ModelError for a file that no engine runs.
    """
    if isinstance(model, bytes):
        with tempfile.TemporaryDirectory(prefix="edge-workshop-") as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(model)
            return outputs_of(path, x, engine=engine, on_sample=on_sample)
    with quiet():  # LiteRT says which delegate it made
        running = Engine(model, choose(engine, 1), threads=1)
    (spec,) = running.inputs
    if spec.shape[1:] != x.shape[1:] or spec.shape[:1] != (1,):
        raise ConfigError(f"{model}: takes {spec}, not samples of {list(x.shape[1:])}")
    answers = []
    for tensor in quantized(x, spec):
        answers.append(running.run(tensor[np.newaxis]))
        on_sample()
    return [
        real(np.concatenate(of_all), told)
        for of_all, told in zip(zip(*answers, strict=True), running.outputs, strict=True)
    ]


def quantized(x: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Return real values as an input's, by TFLite's quantization specification, clipped."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return x.astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.rint(x / np.float32(spec.scale or 1.0)) + spec.zero_point
    return np.asarray(steps.clip(limits.min, limits.max), dtype)


def real(values: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Return an output's values in real units, float32; as they are where it has no scale."""
    if not spec.scale:
        return values
    return ((values.astype(np.float32) - spec.zero_point) * spec.scale).astype(np.float32)


def classifies(shape: Sequence[int], classes: int) -> bool:
    """Whether an output of this shape, batch included, can tell so many classes apart."""
    return len(shape) == TWO and (shape[1] >= classes >= TWO or (shape[1] == 1 and classes == TWO))


def are_probabilities(outputs: Sequence[NDArray[Any]]) -> bool:
    """Whether a model's only output, [n, classes], is a softmax's: a sample's values add to 1."""
    if len(outputs) != 1 or outputs[0].ndim != TWO or outputs[0].shape[1] < TWO:
        return False
    return bool((outputs[0] >= 0).all() and np.allclose(outputs[0].sum(axis=1), 1, atol=0.01))


def answers(output: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class answered to each sample, [n], of a classifier's output, [n, classes].

    An output of one value is a sigmoid's: class 1 from 0.5 on.
    """
    if output.shape[1] == 1:
        return (output[:, 0] >= HALF).astype(np.int64)
    return np.asarray(output.argmax(axis=1), np.int64)


def accuracy(model: Path | bytes, part: Part, *, engine: str = "auto") -> Score:
    """Return how often a classifier's best class is the true one."""
    return score(outputs_of(model, part.x, engine=engine)[0], part)


def score(output: NDArray[Any], part: Part) -> Score:
    """Return how often the best class of an output, [n, classes], is the true one."""
    return Score(int((answers(output) == part.y).sum()), len(part))


def agreement(one: NDArray[Any], other: NDArray[Any]) -> Score:
    """Return how often two classifiers' outputs, [n, classes] each, have the same best class."""
    return Score(int((answers(one) == answers(other)).sum()), len(one))
