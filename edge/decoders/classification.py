"""One score a class: which classes, best first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from edge.decoders.base import Decoder, DecoderOptions, Prediction
from edge.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.geometry import Geometry
    from edge.tensors import TensorSpec


WIDER = {"uint8": "int16", "int8": "int16", "int16": "int32", "int32": "int64"}


class ClassScore(TypedDict):
    """A prediction of `classification`."""

    label: str
    """The class's name; its index where the pipeline has no labels."""
    index: int
    score: float
    """In the model's real units."""


class ClassificationOptions(DecoderOptions):
    """One score a class."""

    prediction = ClassScore

    type: Literal["classification"] = Field(description="One score a class, best first.")
    top_k: int = Field(default=1, ge=1, le=1000, description="How many classes at most.")
    threshold: float = Field(
        default=0.0, description="Lowest score, in the model's real units, that is reported."
    )

    def make(self, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> Decoder:
        """Return the decoder for a model with these outputs."""
        if len(outputs) != 1:
            raise DecodeError(
                f"`classification` wants one output, the model has {len(outputs)}: "
                f"{', '.join(map(str, outputs))}; `type: raw` shows them as they are"
            )
        return Classification(self, outputs[0], labels)

    def agrees(self, ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> bool:
        """Whether both find the same class the best, or both find none."""
        best = [found[0]["label"] if found else None for found in (ours, theirs)]
        return bool(best[0] == best[1])


class Classification:
    """Finds the best classes among the quantized scores and dequantizes only those."""

    def __init__(
        self, options: ClassificationOptions, output: TensorSpec, labels: Sequence[str]
    ) -> None:
        import numpy as np

        classes = output.shape[-1] if output.shape else 0
        if classes < 1 or any(extent != 1 for extent in output.shape[:-1]):
            raise DecodeError(
                f"`classification` wants one row of scores, the model's output is {output}; "
                "`type: raw` shows it as it is"
            )
        if labels and len(labels) != classes:
            raise DecodeError(
                f"{len(labels)} labels for {classes} classes: the model's output is {output}, "
                "so the labels must be as many, in the order the model was trained with"
            )
        self._labels = labels or [str(index) for index in range(classes)]
        self._scale = output.scale or 1.0
        self._zero_point = output.zero_point if output.scale else 0
        self._decimals = output.decimals
        self._top_k = min(options.top_k, classes)
        # Wide enough for a value below all scores.
        kind = np.dtype(WIDER.get(output.dtype, "float64"))
        self._rest = np.empty(classes, kind)
        self._taken = -np.inf if kind.kind == "f" else np.iinfo(kind).min
        self._lowest = options.threshold / self._scale + self._zero_point

    def __call__(
        self,
        tensors: Sequence[NDArray[Any]],
        geometry: Geometry,  # noqa: ARG002
    ) -> list[Prediction]:
        """Return {label, index, score} for the best classes, best first.

        score = scale * (quantized - zero_point), the affine quantization of the TFLite
        8-bit specification. Of equal scores the lower index comes first.
        """
        scores = tensors[0].reshape(-1)
        best = [int(scores.argmax(axis=0))] if self._top_k == 1 else self._best(scores)
        found = []
        for index in best:
            score = scores.item(index)  # Python's own number: numpy's compare slowly
            if score >= self._lowest and math.isfinite(score):
                real = round(self._scale * (score - self._zero_point), self._decimals)
                found.append({"label": self._labels[index], "index": index, "score": real})
        return found

    def _best(self, scores: NDArray[Any]) -> list[int]:
        """Return the indices of the top k: the best, then the best of the rest, and so on.

        On a core that has slept since the last frame, every other function of numpy costs
        more than one of these rounds.
        """
        rest = self._rest
        rest[:] = scores
        best = []
        for _ in range(self._top_k):
            index = int(rest.argmax(axis=0))
            rest[index] = self._taken
            best.append(index)
        return best
