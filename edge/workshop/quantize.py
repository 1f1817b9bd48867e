"""Quantizes a float model and finds out what that cost: accuracy, agreement, layers, latency."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.model_file import read_model_file
from edge.errors import ConfigError, ModelError
from edge.lab.machine import this_machine
from edge.workshop import evaluate
from edge.workshop.chance import Gain, gain
from edge.workshop.convert import CALIBRATED, Mode, TensorType
from edge.workshop.layers import LayerError, layer_errors, left_in_float
from edge.workshop.measure import Cost, measure, ratio, slices
from edge.workshop.runs_on import runs_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.engines.model_summary import ModelSummary
    from edge.workshop.data import Data, Input
    from edge.workshop.evaluate import Score
    from edge.workshop.float_model import FloatModel

WORST_LAYERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for."""

    mode: Mode
    input_type: TensorType | None = None
    output_type: TensorType | None = None
    per_channel: bool = True
    samples: int
    """At most so many of the training part calibrate."""
    seconds: float = 5.0
    """Each model is timed so long; 0: not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """The quantized model, and everything that was found out about it."""

    tflite: bytes
    summary: ModelSummary
    float_tflite: bytes
    repeated: bool
    """A second conversion gave the same bytes."""
    calibrated_on: int
    accuracy: tuple[Score, Score] | None
    """Of the float and the quantized model; None where there are no labels or no classes."""
    change: Gain | None
    """What quantizing changed of that, and whether it may be chance."""
    agreement: Score | None
    output_errors: list[dict[str, Any]]
    worst_layers: list[LayerError]
    left_in_float: list[dict[str, Any]]
    costs: tuple[Cost, Cost] | None
    """Of the float and the quantized model, measured in turns; None where they were not."""
    runs_on: dict[str, str]

    @property
    def classifies(self) -> bool:
        """Whether its output was read as classes."""
        return self.agreement is not None


def quantize(
    model: FloatModel,
    form: Input,
    data: Data,
    settings: Settings,
    on_step: Callable[[str, int], Callable[[], None]],
) -> Quantized:
    """Quantize, and measure what that cost on the held-out part.

    `on_step` is told what is done next and in how many parts (0: unknown), and returns what to call
    after each. Raises ConfigError where data and model do not fit, ModelError where the model
    cannot be converted.
    """
    on_step("converting to float", 0)
    float_tflite = model.as_float()
    ran = on_step("running the held-out samples in float", len(data.test))
    before = evaluate.outputs_of(float_tflite, data.test.x, on_sample=ran)
    _check_fit(before, data)
    on_step(f"converting to {settings.mode}", 0)
    samples = data.training.x[: settings.samples]

    def converted() -> bytes:
        return model.quantized(
            settings.mode,
            samples,
            input_type=settings.input_type,
            output_type=settings.output_type,
            per_channel=settings.per_channel,
            pixel_range=form.pixel_range if data.pictures else None,
        )

    tflite = converted()
    repeated = converted() == tflite
    ran = on_step("running the held-out samples", len(data.test))
    after = evaluate.outputs_of(tflite, data.test.x, on_sample=ran)
    scores, change = None, None
    if data.classes:
        scores = (evaluate.score(before[0], data.test), evaluate.score(after[0], data.test))
        right = [evaluate.answers(outputs[0]) == data.test.y for outputs in (after, before)]
        change = gain(*right)
    classifies = bool(data.classes) or evaluate.are_probabilities(before)
    on_step("comparing layers", 0)
    layers = layer_errors(float_tflite, tflite, data.test.x, model.layers)
    with tempfile.TemporaryDirectory(prefix="edge-quantize-") as folder:
        paths = [Path(folder) / "float.tflite", Path(folder) / "quantized.tflite"]
        for path, content in zip(paths, (float_tflite, tflite), strict=True):
            path.write_bytes(content)
        summary = read_model_file(paths[1])
        timed = settings.seconds > 0
        ran = on_step("measuring latency", slices(paths, settings.seconds) if timed else 0)
        costs = measure(paths, seconds=settings.seconds, on_slice=ran) if timed else None
        engines = runs_on(paths[1])
    return Quantized(
        tflite=tflite,
        summary=summary,
        float_tflite=float_tflite,
        repeated=repeated,
        calibrated_on=len(samples) if settings.mode in CALIBRATED else 0,
        accuracy=scores,
        change=change,
        agreement=evaluate.agreement(before[0], after[0]) if classifies else None,
        output_errors=[_output_error(*pair) for pair in zip(before, after, strict=True)],
        worst_layers=layers[:WORST_LAYERS],
        left_in_float=left_in_float(tflite, settings.mode),
        costs=(costs[0], costs[1]) if costs is not None else None,
        runs_on=engines,
    )


def _check_fit(outputs: list[NDArray[Any]], data: Data) -> None:
    """Refuse labels that are not what the model's output tells apart."""
    if not np.isfinite(outputs[0]).all():
        raise ModelError("the float model answers NaN or infinity to some of the held-out samples")
    if not data.classes:
        return
    shapes = [list(output.shape[1:]) for output in outputs]
    if len(outputs) != 1 or not evaluate.classifies(outputs[0].shape, len(data.classes)):
        raise ConfigError(
            f"the data has {len(data.classes)} classes, and the model's output for one sample is "
            f"{', '.join(map(str, shapes))}: no score for each class; give other data, or "
            "--ignore-labels"
        )
    count = outputs[0].shape[1]
    if count not in (1, len(data.classes)) and data.named:
        raise ConfigError(
            f"the data has {len(data.classes)} classes, and the model {count} outputs: name the "
            "model's classes in their order with --labels"
        )


def _output_error(before: NDArray[Any], after: NDArray[Any]) -> dict[str, Any]:
    """Return how far an output is from the float model's, in real units."""
    away = np.abs(after.astype(np.float64) - before)
    size = float(np.sqrt(np.square(before, dtype=np.float64).mean()))
    rms = float(np.sqrt(np.square(away).mean()))
    return {
        "shape": [1, *before.shape[1:]],
        "rms_error_percent": float(f"{100 * rms / size:.3g}") if size else None,
        "largest_error": float(f"{away.max():.4g}"),
    }


def card_of(made: Quantized, model: FloatModel, settings: Settings) -> dict[str, Any]:
    """Return what a card says of it, and `--json` prints: figures by topic."""
    card: dict[str, Any] = {
        "source": {"file": model.path.name, "kind": model.kind, "sha256": model.sha256},
        "quantization": {
            "mode": settings.mode,
            "weights": f"int8, one scale a {'channel' if settings.per_channel else 'tensor'}",
            "converter": "ai-edge-quantizer" if model.kind == "tflite" else "TensorFlow's",
            "calibration": f"{made.calibrated_on} samples of the training part"
            if made.calibrated_on
            else "none needed",
        },
    }
    for end in ("input", "output"):
        card[end] = [_tensor(each) for each in getattr(made.summary, f"{end}s")]
    card["size_bytes"] = {"float": len(made.float_tflite), "quantized": len(made.tflite)}
    card["macs"] = made.summary.macs
    if made.accuracy is not None:
        names = ("float", "quantized")
        card["accuracy"] = {
            name: score.card for name, score in zip(names, made.accuracy, strict=True)
        }
    if made.change is not None:
        card["accuracy"]["change"] = made.change.card
    if made.agreement is not None:
        card["agreement"] = {"top_1_same_as_float": made.agreement.card}
    card["output_error"] = made.output_errors
    card["worst_layers"] = [layer.card for layer in made.worst_layers]
    card["left_in_float"] = made.left_in_float or "nothing"
    card["latency"] = _latency(*made.costs) if made.costs is not None else "not measured"
    card["runs_on"] = made.runs_on
    return card


def _tensor(tensor: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"shape": list(tensor.shape), "dtype": tensor.dtype}
    if len(tensor.scales) == 1:
        facts |= {"scale": tensor.scales[0], "zero_point": tensor.zero_points[0]}
    return facts


def _latency(before: Cost, after: Cost) -> dict[str, Any]:
    told: dict[str, Any] = {
        "what": "the forward pass alone, warm, in turns, milliseconds",
        "engine": f"{after.subject.engine} {after.subject.engine_version}, "
        f"{after.subject.threads} thread",
        "machine": str(this_machine()),
        "float": before.latency_card,
        "quantized": after.latency_card,
    }
    if (found := ratio(after, before)) is not None:
        told["quantized_to_float"] = {
            "ratio": round(found.value, 3),
            "low": round(found.low, 3),
            "high": round(found.high, 3),
        }
    return told


def changed_since(old: dict[str, Any], new: dict[str, Any], tflite: bytes) -> list[str] | None:
    """Return what differs from an older card's recipe; None where the model is the same.

    An empty list: nothing that the cards tell, and other bytes all the same.
    """
    digests = [
        file["sha256"] for file in old.get("files", {}).values() if file.get("role") == "model"
    ]
    if hashlib.sha256(tflite).hexdigest() in digests:
        return None
    facts = {
        "the source's sha256": ("source", "sha256"),
        "the data's sha256": ("data", "sha256"),
        "the command": ("recipe", "command"),
        "versions": ("recipe", "versions"),
    }
    changed = []
    for what, (topic, key) in facts.items():
        then, now = ((card.get(topic) or {}).get(key) for card in (old, new))
        if then != now:
            changed.append(f"{what}: {then} then, {now} now")
    return changed
