"""Compares a quantized model with the float one operator by operator: what lost most, what is left.

Both run with all tensors kept, without a delegate, on the same samples.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.engine import tensor_spec
from edge.workshop.evaluate import quantized, real
from edge.workshop.framework import bring, quiet

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from edge.workshop.convert import Mode

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
SAMPLES = 64
LONGEST_NAME = 48


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far an operator's output is from the float model's."""

    layer: str
    operator: str
    error: float
    """RMS of the difference to the float model's output, as a part of that output's own RMS."""
    inherited: float
    """The largest `error` among its inputs."""

    @property
    def lost(self) -> float:
        """What this operator added."""
        return max(self.error - self.inherited, 0.0)

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it, in percent."""
        return {
            "layer": self.layer,
            "operator": self.operator,
            "error_percent": _percent(self.error),
            "inherited_percent": _percent(self.inherited),
        }


def layer_errors(
    float_model: bytes,
    quantized_model: bytes,
    x: NDArray[np.float32],
    layers: Collection[str] = (),
) -> list[LayerError]:
    """Return the operators that both models have, those first that lost most.

    `x` holds real input values, [n, *input shape without its batch]; the first 64 are run.
    Operators are matched by their order, or, where the converters made other graphs, by the names
    of their outputs. Empty where nothing can be matched. `layers` are the network's own names,
    where they are known: Keras numbers them anew as it converts.
    """
    before, after = _Traced(float_model), _Traced(quantized_model)
    pairs = _matched(before, after)
    signal, noise = np.zeros(len(pairs)), np.zeros(len(pairs))
    for sample in x[:SAMPLES]:
        before.run(sample)
        after.run(sample)
        for at, (one, other) in enumerate(pairs):
            true, given = before.real(one.output), after.real(other.output)
            signal[at] += np.square(true, dtype=np.float64).sum()
            noise[at] += np.square(given - true, dtype=np.float64).sum()
    errors = {
        one.output: math.sqrt(lost / size) if size else 0.0
        for (one, _), size, lost in zip(pairs, signal, noise, strict=True)
    }
    found = [
        LayerError(
            layer=_readable(before.name(one.output), one.number, layers),
            operator=one.kind,
            error=errors[one.output],
            inherited=max((errors.get(tensor, 0.0) for tensor in one.inputs), default=0.0),
        )
        for one, _ in pairs
    ]
    return sorted((each for each in found if each.lost), key=lambda each: -each.lost)


def left_in_float(model: bytes, mode: Mode) -> list[dict[str, Any]]:
    """Return what of a quantized model still computes in float, how often, and why."""
    traced = _Traced(model)
    counts: Counter[tuple[str, str]] = Counter()
    for operator in traced.operators:
        if traced.in_float(operator):
            counts[_why(operator, traced, mode), operator.kind] += 1
    return [
        {"operator": kind, "count": count, "why": why}
        for (why, kind), count in counts.most_common()
    ]


def _why(operator: _Operator, traced: _Traced, mode: Mode) -> str:
    if mode == "int8-weights":
        return "activations are float32 in this mode, only weights are int8"
    if operator.kind in CONVERSIONS:
        if traced.ends & {*operator.inputs, operator.output}:
            return "the model's input or output is float32"
        return "stands between what is left in float and what is not"
    return f"the converter has no {'int8' if mode == 'int8' else 'int16'} form of it"


@dataclass(frozen=True, slots=True)
class _Operator:
    number: int
    kind: str
    inputs: tuple[int, ...]
    output: int


class _Traced:
    """An interpreter that keeps every tensor of a forward pass."""

    def __init__(self, model: bytes) -> None:
        module = bring("ai_edge_litert.interpreter")
        kernels = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        with quiet():
            self._interpreter = module.Interpreter(
                model_content=model,
                num_threads=1,
                experimental_op_resolver_type=kernels,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        self._details = {each["index"]: each for each in self._interpreter.get_tensor_details()}
        self._input = self._interpreter.get_input_details()[0]
        self.ends = {self._input["index"]}
        self.ends |= {each["index"] for each in self._interpreter.get_output_details()}
        self.operators = [
            _Operator(
                number,
                str(each["op_name"]),
                tuple(int(tensor) for tensor in each["inputs"] if tensor >= 0),
                int(each["outputs"][0]) if len(each["outputs"]) else -1,
            )
            for number, each in enumerate(self._interpreter._get_ops_details())  # noqa: SLF001
        ]

    def run(self, sample: NDArray[np.float32]) -> None:
        tensor = quantized(sample[np.newaxis], tensor_spec(self._input))
        self._interpreter.set_tensor(self._input["index"], tensor)
        self._interpreter.invoke()

    def real(self, tensor: int) -> NDArray[np.float32]:
        """Return a tensor's values in real units."""
        values = self._interpreter.get_tensor(tensor)
        return np.asarray(real(values, tensor_spec(self._details[tensor])), np.float32)

    def name(self, tensor: int) -> str:
        return str(self._details[tensor]["name"])

    def is_float(self, tensor: int) -> bool:
        return tensor in self._details and self._details[tensor]["dtype"] == np.float32

    def in_float(self, operator: _Operator) -> bool:
        return any(self.is_float(tensor) for tensor in (*operator.inputs, operator.output))

    @property
    def computing(self) -> list[_Operator]:
        """The operators but those that only turn numbers into others."""
        return [each for each in self.operators if each.kind not in CONVERSIONS]


def _matched(before: _Traced, after: _Traced) -> list[tuple[_Operator, _Operator]]:
    ones, others = before.computing, after.computing
    if [one.kind for one in ones] == [other.kind for other in others]:
        pairs = list(zip(ones, others, strict=True))
    else:
        by_name = {after.name(other.output): other for other in others if other.output >= 0}
        named = ((one, by_name.get(before.name(one.output))) for one in ones if one.output >= 0)
        pairs = [(one, other) for one, other in named if other is not None]
    return [(one, other) for one, other in pairs if one.output >= 0 and before.is_float(one.output)]


def _readable(name: str, number: int, layers: Collection[str]) -> str:
    """Return what a person calls the layer behind a tensor: `conv2d` of `net/conv2d_1/Relu;...`.

    A model's last tensor is named by the converter: its operator's number tells it.
    """
    if name.startswith("StatefulPartitionedCall"):
        return f"operator {number}"
    parts = name.split(";", maxsplit=1)[0].split("/")
    layer = "/".join(parts[1:-1] if len(parts) > 2 else parts)[:LONGEST_NAME]  # noqa: PLR2004
    own = re.sub(r"_\d+$", "", layer)
    return own if own in layers else layer


def _percent(value: float) -> float:
    return float(f"{100 * value:.3g}")
