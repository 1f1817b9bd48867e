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
