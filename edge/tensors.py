"""What there is to know of a model's input or output tensor; imports no engine and no numpy."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model, as its engine describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name of the type: `uint8`, `int8`, `float32`, ..."""
    scale: float = 0.0
    """real = scale * (quantized - zero_point); 0 where the tensor is not quantized."""
    zero_point: int = 0

    @property
    def decimals(self) -> int:
        """How many decimals of a real value carry information, with some to spare."""
        return max(6, 6 - math.floor(math.log10(self.scale))) if self.scale else 6

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"
