"""Glyphs of scikit-learn's handwritten digits, in three disjoint parts."""

from __future__ import annotations

import functools
from typing import Literal, get_args

from edge.scenery.glyphs import Glyphs
from edge.workshop.digits import split_digits

PartName = Literal["training", "validation", "held_out"]
PARTS: tuple[PartName, ...] = get_args(PartName)


@functools.cache
def glyphs(part: PartName) -> Glyphs:
    """Return the glyphs of one part; none of them is in another part.

    The split is that of the model `digits`, seed 0, whatever the seed of a picture is: what that
    model was trained on is never held out here, nor the other way round.
    """
    split = split_digits(0)
    parts = {"training": split.training, "validation": split.validation, "held_out": split.test}
    return Glyphs.of(parts[part].x[..., 0], parts[part].y, PARTS.index(part))
