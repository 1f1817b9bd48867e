"""Inputs of seeded noise, to time a model and to try it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.tensors import TensorSpec


def random_tensor(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    """Return what fills an input: noise, for a constant can flatter a model.

    Integers of 8 and 16 bits span their whole range; wider ones, which are indices and sizes
    rather than data, are 0 or 1; floats lie in [0, 1). Raises ModelError for other types.
    """
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.random(spec.shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:  # noqa: PLR2004  bytes
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, spec.shape, dtype=dtype, endpoint=True)
    if dtype.kind in "iub":
        return generator.integers(0, 2, spec.shape).astype(dtype)
    raise ModelError(f"the input {spec.name} is of type {dtype}, which cannot be filled")
