"""How far what a model answered is from what it should have answered, in quantization steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def steps_apart(found: NDArray[Any], answers: NDArray[Any], step: float) -> NDArray[np.float64]:
    """Return how far each value lies outside of what the answers span, in steps.

    `answers` has the shape [answers, *found.shape]; the result has that of `found`. With a `step`
    of 0 a value that none of the answers has in its place is infinitely far from them, and so is
    a NaN that none has.
    """
    known = np.any(found == answers, axis=0)
    if found.dtype.kind == "f":
        known |= np.isnan(found) & np.any(np.isnan(answers), axis=0)
    if not step:
        return np.where(known, 0.0, np.inf)
    values, bounds = found.astype(np.float64), answers.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of an infinity by itself, which is known
        beyond = np.maximum(bounds.min(axis=0) - values, values - bounds.max(axis=0)) / step
    beyond = np.where(np.isnan(beyond), np.inf, np.maximum(beyond, 0))
    return np.where(known, 0.0, beyond)
