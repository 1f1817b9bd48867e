"""A grid of scores, a cell for each part of the picture: where objects are, not how large.

The grid is that of FOMO ("Faster Objects, More Objects", Edge Impulse): each cell holds one score a
class, of which one may be the background's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from edge.decoders.base import Decoder, DecoderOptions, Prediction
from edge.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge.geometry import Geometry
    from edge.tensors import TensorSpec

NEAR = 0.1  # of the frame's width and height: so far apart two models may see an object
DECIMALS = 4  # of a place in the frame: less than a pixel of any camera


class Centroid(TypedDict):
    """A prediction of `centroids`: the middle of one object."""

    label: str
    """The class's name; its index where the pipeline has no labels."""
    index: int
    """Of the class among the model's, the background's counted."""
    score: float
    """The best of its cells', in the model's real units."""
    x: float
    """Of its middle in the frame: 0 is the left edge, 1 the right one."""
    y: float
    """0 is the upper edge, 1 the lower one."""
    x_px: int
    """The same in pixels of the frame as its camera or file has it, from the left."""
    y_px: int
    """From above."""
    cells: int
    """How many neighbouring cells of the grid it was seen in."""


class CentroidsOptions(DecoderOptions):
    """Middles of objects."""

    prediction = Centroid
    tells_places = True

    type: Literal["centroids"] = Field(
        description="Middles of objects, from a grid of scores as FOMO models give, best first."
    )
    threshold: float = Field(
        default=0.5,
        description="Lowest score, in the model's real units, of a cell that is an object's.",
    )
    background: int | None = Field(
        default=0,
        ge=0,
        description="Which class, by its index, stands for no object; `null` where the model has "
        "none. Labels may leave it out.",
    )
    max_objects: int = Field(default=20, ge=1, le=1000, description="How many objects at most.")

    def make(self, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> Decoder:
        """Return the decoder for a model with these outputs."""
        if len(outputs) != 1:
            raise DecodeError(
                f"`centroids` wants one output, the model has {len(outputs)}: "
                f"{', '.join(map(str, outputs))}; `type: raw` shows them as they are"
            )
        return Centroids(self, outputs[0], labels)

    def agrees(self, ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> bool:
        """Whether both find as many objects, each of the other's class near the other's place."""
        left = list(theirs)
        for one in ours:
            near = [other for other in left if _is_same(one, other)]
            if not near:
                return False
            left.remove(near[0])
        return not left


def _is_same(one: Prediction, other: Prediction) -> bool:
    return bool(
        one["label"] == other["label"]
        and abs(one["x"] - other["x"]) <= NEAR
        and abs(one["y"] - other["y"]) <= NEAR
    )


class _Cell(NamedTuple):
    """A cell of the grid that some object is seen in: its best class, and that one's score."""

    row: int
    column: int
    of_class: int
    quantized: float


class Centroids:
    """Finds the cells that reach the threshold among the quantized scores, and joins neighbours."""

    def __init__(
        self, options: CentroidsOptions, output: TensorSpec, labels: Sequence[str]
    ) -> None:
        import numpy as np

        shape = output.shape
        if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:  # noqa: PLR2004
            raise DecodeError(
                f"`centroids` wants a grid of scores, [1, rows, columns, classes]; the model's "
                f"output is {output}; `type: raw` shows it as it is"
            )
        _, self._rows, self._columns, self._classes = shape
        background = options.background
        if background is not None and background >= self._classes:
            raise DecodeError(
                f"`background: {background}` is none of the {self._classes} classes of the model's "
                f"output, {output}: the first is 0"
            )
        self._labels = _names(labels, self._classes, background, output)
        self._scale = output.scale or 1.0
        self._zero_point = output.zero_point if output.scale else 0
        self._decimals = output.decimals
        self._most = options.max_objects
        # A class each, so that one comparison passes over the background, too.
        self._lowest = np.full(self._classes, options.threshold / self._scale + self._zero_point)
        if background is not None:
            self._lowest[background] = np.inf

    def __call__(self, tensors: Sequence[NDArray[Any]], geometry: Geometry) -> list[Prediction]:
        """Return {label, index, score, x, y, x_px, y_px, cells} for each object, best first.

        A cell is of its best class but the background. Cells of a class that touch one another,
        also by a corner, are one object. Its middle is that of the cells' own middles, each
        weighted by its score; what would lie beside the frame, in padding, is told as on its edge.
        """
        found = [self._object(cells, geometry) for cells in _joined(self._cells(tensors[0]))]
        found.sort(key=lambda each: (-each["score"], each["y"], each["x"]))
        return found[: self._most]

    def _cells(self, grid: NDArray[Any]) -> dict[tuple[int, int], _Cell]:
        """Return the cells [row, column] that reach the threshold, row by row."""
        import numpy as np

        scores = grid.reshape(-1, self._classes)  # [rows * columns, classes]
        cells: dict[tuple[int, int], _Cell] = {}
        for hit in np.flatnonzero(scores >= self._lowest).tolist():
            cell, index = divmod(hit, self._classes)
            place = divmod(cell, self._columns)
            score = scores.item(hit)
            if not math.isfinite(score) or (place in cells and score <= cells[place].quantized):
                continue
            cells[place] = _Cell(place[0], place[1], index, score)
        return cells

    def _object(self, cells: list[_Cell], geometry: Geometry) -> Prediction:
        """Return the prediction that some cells of a class make together.

        score = scale * (quantized - zero_point), the affine quantization of the TFLite
        8-bit specification.
        """
        scores = [self._scale * (cell.quantized - self._zero_point) for cell in cells]
        total = sum(scores)
        # Of scores that are no probabilities the sum may be anything: then all weigh the same.
        weights = [s / total for s in scores] if min(scores) > 0 else [1 / len(cells)] * len(cells)
        across = sum(w * (cell.column + 0.5) for w, cell in zip(weights, cells, strict=True))
        down = sum(w * (cell.row + 0.5) for w, cell in zip(weights, cells, strict=True))
        x, y = geometry.of(across / self._columns, down / self._rows)
        x_px, y_px = geometry.pixel(x, y)
        index = cells[0].of_class
        return {
            "label": self._labels[index],
            "index": index,
            "score": round(max(scores), self._decimals),
            "x": round(min(max(x, 0.0), 1.0), DECIMALS),
            "y": round(min(max(y, 0.0), 1.0), DECIMALS),
            "x_px": x_px,
            "y_px": y_px,
            "cells": len(cells),
        }


def _joined(cells: dict[tuple[int, int], _Cell]) -> Iterator[list[_Cell]]:
    """Yield the cells of each object; takes them out of the dict."""
    while cells:
        _, first = cells.popitem()
        group = [first]
        for cell in group:  # grows meanwhile
            for row in range(cell.row - 1, cell.row + 2):
                for column in range(cell.column - 1, cell.column + 2):
                    beside = cells.get((row, column))
                    if beside is not None and beside.of_class == cell.of_class:
                        group.append(cells.pop((row, column)))
        yield group


def _names(
    labels: Sequence[str], classes: int, background: int | None, output: TensorSpec
) -> list[str]:
    """Return a name for each class. Raises DecodeError where the labels are not as many."""
    if not labels:
        return [str(index) for index in range(classes)]
    names = list(labels)
    if background is not None and len(names) == classes - 1:
        names.insert(background, "background")
    if len(names) != classes:
        but = "" if background is None else f", or {classes - 1} without the background's"
        raise DecodeError(
            f"{len(labels)} labels for {classes} classes: the model's output is {output}, "
            f"so the labels must be as many{but}, in the order the model was trained with"
        )
    return names
