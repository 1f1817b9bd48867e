"""How networks stand beside each other as models for a device: size, accuracy, latency."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.errors import ConfigError
from edge.workshop import evaluate
from edge.workshop.convert import Mode, spanning, to_tflite
from edge.workshop.measure import Cost, measure, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edge.tensors import TensorSpec
    from edge.workshop.data import Data, Input

MODES: tuple[Mode, ...] = ("float", "int8")


@dataclass(frozen=True, slots=True)
class Standing:
    """One network, converted in one way, and what was measured of it."""

    network: str
    """Which one it is: `before`, `pruned` ..."""
    mode: Mode
    tflite: bytes
    right: NDArray[np.bool_]
    """Of each held-out sample, whether its class was found; [n]."""
    cost: Cost

    @property
    def score(self) -> evaluate.Score:
        """How many held-out samples it had right."""
        return evaluate.Score(int(self.right.sum()), len(self.right))

    @property
    def packed_bytes(self) -> int:
        """What the file takes when it is packed with zlib, as zip and gzip do, at level 9."""
        return len(zlib.compress(self.tflite, 9))

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it, a row of a table."""
        return {
            "network": self.network,
            "mode": self.mode,
            "size_bytes": self.cost.size_bytes,
            "packed_bytes": self.packed_bytes,
            "macs": self.cost.macs,
            "right": self.score.right,
            "of": self.score.of,
            "accuracy": round(self.score.share, 4),
            **self.cost.latency_card,
        }


def check_classes(network: Any, data: Data, name: str) -> None:
    """Raise ConfigError where the network, called `name`, is no classifier for this data."""
    shapes = [tuple(each.shape) for each in network.outputs]
    if len(shapes) > 1 or not evaluate.classifies((1, *shapes[0][1:]), len(data.classes)):
        told = ", ".join(str(list(shape[1:])) for shape in shapes)
        raise ConfigError(
            f"the data has {len(data.classes)} classes, and {name} gives {told} for a sample: no "
            "score for each class"
        )
    if shapes[0][1] not in {1, len(data.classes)} and data.named:
        raise ConfigError(
            f"the data has {len(data.classes)} classes, and {name} {shapes[0][1]} outputs: name "
            "its classes in their order with --labels"
        )


def converted(network: Any, form: Input, data: Data, samples: int) -> dict[Mode, bytes]:
    """Return the network as a float and as an int8 model, calibrated on so many samples at most."""
    calibration = data.training.x[:samples]
    if data.pictures:
        calibration = spanning(calibration, form.pixel_range)
    return {mode: to_tflite(network, mode, calibration) for mode in MODES}


def input_spec(tflite: bytes) -> TensorSpec:
    """Return the input of a model with one, as an engine has it."""
    with tempfile.TemporaryDirectory(prefix="edge-standing-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        return Engine(path, choose("auto", 1), threads=1).inputs[0]


def standings(
    models: Mapping[str, Mapping[Mode, bytes]],
    data: Data,
    *,
    seconds: float,
    on_step: Callable[[str, int], Callable[[], None]],
) -> list[Standing]:
    """Run all models over the held-out part, then time each so long, in turns."""
    each = [(name, mode, tflite) for name, made in models.items() for mode, tflite in made.items()]
    ran = on_step("running the held-out samples", len(each) * len(data.test))
    right = [
        evaluate.answers(evaluate.outputs_of(tflite, data.test.x, on_sample=ran)[0]) == data.test.y
        for _, _, tflite in each
    ]
    with tempfile.TemporaryDirectory(prefix="edge-standing-") as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(len(each))]
        for path, (_, _, tflite) in zip(paths, each, strict=True):
            path.write_bytes(tflite)
        on_slice = on_step("measuring latency", slices(paths, seconds))
        costs = measure(paths, seconds=seconds, on_slice=on_slice)
    return [
        Standing(name, mode, tflite, found, cost)
        for (name, mode, tflite), found, cost in zip(each, right, costs, strict=True)
    ]
