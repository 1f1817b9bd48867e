"""The output tensors as numbers, for models that no decoder here understands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from edge.decoders.base import Decoder, DecoderOptions, Prediction, alike
from edge.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.geometry import Geometry
    from edge.tensors import TensorSpec


class RawOutput(TypedDict):
    """A prediction of `raw`: one output tensor."""

    output: str
    """The tensor's name in the model."""
    shape: list[int]
    values: list[float | bool | None]
    """Flat, in C order, in real units; null where one is not finite."""


class RawOptions(DecoderOptions):
    """The output tensors as numbers."""

    prediction = RawOutput

    type: Literal["raw"] = Field(description="The output tensors as numbers.")
    max_values: int = Field(
        default=4096,
        ge=1,
        le=16384,
        description="Most numbers a result may hold, over all outputs; a model with more is "
        "refused.",
    )

    def make(self, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> Decoder:  # noqa: ARG002
        """Return the decoder for a model with these outputs."""
        return Raw(self, outputs)

    def agrees(self, ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> bool:
        """Whether all outputs are alike; what they are called is the models' own affair."""
        return alike(*([[p["shape"], p["values"]] for p in both] for both in (ours, theirs)))


class Raw:
    """Dequantizes every output, one prediction for each."""

    def __init__(self, options: RawOptions, outputs: Sequence[TensorSpec]) -> None:
        values = sum(_size(output.shape) for output in outputs)
        if values > options.max_values:
            raise DecodeError(
                f"`raw` would send {values} numbers a result ({', '.join(map(str, outputs))}), "
                f"more than `max_values: {options.max_values}`"
            )
        self._outputs = list(outputs)

    def __call__(
        self,
        tensors: Sequence[NDArray[Any]],
        geometry: Geometry,  # noqa: ARG002
    ) -> list[Prediction]:
        """Return {output, shape, values} for each output; values are real, flat, in C order."""
        return [
            {
                "output": spec.name,
                "shape": list(tensor.shape),
                "values": _real_values(spec, tensor),
            }
            for spec, tensor in zip(self._outputs, tensors, strict=True)
        ]


def _real_values(spec: TensorSpec, tensor: NDArray[Any]) -> list[Any]:
    """As real = scale * (quantized - zero_point); a tensor without a scale stays as it is.

    What is not finite becomes None, for which JSON has a word.
    """
    flat = tensor.reshape(-1)
    values: list[Any]
    if not spec.scale:
        values = flat.tolist()
        return [value if math.isfinite(value) else None for value in values]
    values = ((flat.astype("float64") - spec.zero_point) * spec.scale).round(spec.decimals).tolist()
    return values


def _size(shape: Sequence[int]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
