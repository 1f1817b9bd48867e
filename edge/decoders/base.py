"""What a decoder is: options from the YAML, and a function from tensors to predictions."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from edge.options import Options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.geometry import Geometry
    from edge.tensors import TensorSpec

TOLERANCE = 0.05
"""Of the largest number in a list; of 1 for one that stands alone, as a score does."""
Prediction = dict[str, Any]
"""One result as it stands in the payload: builtin types only."""

Decoder = Callable[[Sequence["NDArray[Any]"], "Geometry"], list[Prediction]]
"""From the output tensors, as the engine gives them, to predictions in real units.

The geometry says where the model's input lies in the frame: places are told in the frame's terms.
"""


class DecoderOptions(Options, abc.ABC):
    """What all decoders have in common; each says its own `type`."""

    prediction: ClassVar[Any]
    """A TypedDict of what each of its predictions holds."""
    tells_places: ClassVar[bool] = False
    """Whether its predictions say where in a picture, so that the input must be one."""

    type: str = Field(description="Kind of decoder.")

    @abc.abstractmethod
    def make(self, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> Decoder:
        """Return the decoder for a model with these outputs.

        Raises DecodeError when the outputs or the number of labels do not fit.
        """

    def agrees(self, ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> bool:
        """Whether another model's predictions of a frame say the same as those of this decoder.

        Here: as many, in the same order, each with the same fields; numbers that are no counts may
        differ by `TOLERANCE` of the largest beside them.
        """
        return alike(list(ours), list(theirs))


def alike(one: Any, other: Any) -> bool:
    """Whether two values as they stand in payloads are the same within `TOLERANCE`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return False
        numbers = [abs(each) for each in (*one, *other) if isinstance(each, float)]
        largest = max(numbers, default=0.0)
        return all(_alike(mine, its, largest) for mine, its in zip(one, other, strict=True))
    return _alike(one, other, 1.0)


def _alike(one: Any, other: Any, largest: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * largest
    if isinstance(one, (dict, list)):
        return alike(one, other)
    return bool(one == other)
