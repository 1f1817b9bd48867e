"""Results of inputs seen before: the very same ones, or pictures that look the same.

Never a result older than `max_age_ms`: age counts from the capture of the frame that was really
run to the capture of the frame to be answered, and no hit renews it.
"""

from __future__ import annotations

import abc
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.errors import CacheError
from edge.geometry import NO_PICTURE, Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.config.cache import Cache
    from edge.engines.model_summary import ModelSummary
    from edge.worker.preprocess import Preprocessor

CELLS = 32  # cells of a signature along each side of the picture


@dataclass(frozen=True, slots=True)
class Kept:
    """The result of a frame that was really run."""

    frame: int
    captured_ns: int
    predictions: list[dict[str, Any]]
    source: int = 0
    """Whose frame it was: frames are numbered by source."""
    geometry: Geometry = NO_PICTURE
    """Where the input lay in it: the same input of a frame of another size is another result."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A result that may be used again, and what it is worth."""

    kept: Kept
    age_ns: int
    """From its frame's capture to the capture of the frame that is answered with it."""
    similarity: float
    """1 is the very same; see `SimilarCache`."""

    @property
    def told(self) -> tuple[int, int, float, int]:
        """Return what the record of the answer says of it."""
        return self.kept.frame, self.age_ns, self.similarity, self.kept.source


class ResultCache(abc.ABC):
    """Asked before each forward pass, and told after it what came of it. For one thread.

    At most `size` results are kept; the least recently used makes room.
    """

    def __init__(self, options: Cache) -> None:
        self._size = options.size
        self._max_age_ns = round(options.max_age_ms * 1e6)

    @abc.abstractmethod
    def find(self, tensor: NDArray[Any], captured_ns: int) -> Hit | None:
        """Return a result for this input of a frame captured then; None where there is none."""

    @property
    @abc.abstractmethod
    def asked(self) -> Any:
        """What the input that `find` was asked for last is known by."""

    @abc.abstractmethod
    def keep(self, asked: Any, result: Kept) -> None:
        """Keep the result of an input, by what `asked` was after `find`."""

    def _hit(self, kept: Kept, captured_ns: int, similarity: float) -> Hit | None:
        """Return the hit, None when the result is too old."""
        age_ns = captured_ns - kept.captured_ns
        return Hit(kept, age_ns, similarity) if 0 <= age_ns <= self._max_age_ns else None


class ExactCache(ResultCache):
    """Knows inputs by their bytes: a dict compares them, so no collision can mislead it."""

    def __init__(self, options: Cache) -> None:
        super().__init__(options)
        self._results: OrderedDict[bytes, Kept] = OrderedDict()
        self._asked = b""

    def find(self, tensor: NDArray[Any], captured_ns: int) -> Hit | None:
        """Return the result of the same bytes."""
        self._asked = tensor.tobytes()
        kept = self._results.get(self._asked)
        if kept is None:
            return None
        self._results.move_to_end(self._asked)
        return self._hit(kept, captured_ns, 1.0)

    @property
    def asked(self) -> bytes:
        """The bytes of the input."""
        return self._asked

    def keep(self, asked: bytes, result: Kept) -> None:
        """Keep the result under these bytes, in the place of an older one."""
        self._results[asked] = result
        if len(self._results) > self._size:
            self._results.popitem(last=False)


class SimilarCache(ResultCache):
    """Knows pictures by their signature: averages over 32x32 cells, for each channel.

    similarity = 1 - d, where d is the largest difference of any cell in any channel, as a share
    of what lies between black and white. Not the mean difference: that hardly moves when
    something small enters the scene, while its own cells change a lot. Averages carry so little
    of a sensor's noise that a still scene stays far below.
    """

    def __init__(self, options: Cache, preprocess: Preprocessor) -> None:
        super().__init__(options)
        _, height, width, channels = preprocess.spec.shape
        self._largest = 1 - options.similarity + 1e-6  # float32 is exact to 6e-8 of the range
        self._pixels = np.empty((height, width, channels), np.uint8)
        self._grid = (min(CELLS, width), min(CELLS, height))
        self._range = np.tile(_black_to_white(preprocess), self._grid[0] * self._grid[1])
        values = self._range.size
        self._results: list[Kept] = []
        self._used: list[int] = []  # when each of them was, as counted by `_asked`
        self._signatures = np.zeros((options.size, values), np.float32)
        self._differences = np.zeros_like(self._signatures)
        self._signature = np.zeros(values, np.float32)
        self._asked = 0

    def find(self, tensor: NDArray[Any], captured_ns: int) -> Hit | None:
        """Return the result of the most similar picture that is young enough."""
        self._asked += 1
        self._sign(tensor[0])
        filled = len(self._results)
        differences = self._differences[:filled]
        np.subtract(self._signatures[:filled], self._signature, out=differences)
        np.abs(differences, out=differences)
        best, found = None, 0
        for place, difference in enumerate(differences.max(axis=1).tolist()):
            if difference <= self._largest:  # false for the NaN of an input that holds one
                hit = self._hit(self._results[place], captured_ns, round(1 - difference, 4))
                if hit is not None and (best is None or hit.similarity > best.similarity):
                    best, found = hit, place
        if best is not None:
            self._used[found] = self._asked
        return best

    @property
    def asked(self) -> NDArray[np.float32]:
        """The picture's signature."""
        signature: NDArray[np.float32] = self._signature.copy()
        return signature

    def keep(self, asked: NDArray[np.float32], result: Kept) -> None:
        """Keep the result under this signature."""
        if len(self._results) < self._size:
            place = len(self._results)
            self._results.append(result)
            self._used.append(self._asked)
        else:
            place = self._used.index(min(self._used))
            self._results[place] = result
            self._used[place] = self._asked
        self._signatures[place] = asked

    def _sign(self, picture: NDArray[Any]) -> None:
        """Write the signature of a picture (height, width, channels), 1 from black to white."""
        if picture.dtype == np.int8:  # OpenCV does not average int8; + 128 is one bit
            picture = np.bitwise_xor(picture.view(np.uint8), 0x80, out=self._pixels)
        cells = cv2.resize(picture, self._grid, interpolation=cv2.INTER_AREA)
        np.divide(cells.reshape(-1), self._range, out=self._signature)


def result_cache(
    options: Cache, model: ModelSummary, preprocess: Preprocessor
) -> ResultCache | None:
    """Return the cache of a pipeline, None for `mode: off`.

    Raises CacheError where a result must not be used again, or where there is no picture.
    """
    if options.mode == "off":
        return None
    if model.keeps_state:
        raise CacheError(
            f"`cache: {{mode: {options.mode}}}` is not for {model.path}: the model keeps state, so "
            "an input seen before need not give the same result; write `mode: off`"
        )
    if options.mode == "exact":
        return ExactCache(options)
    if not preprocess.takes_pixels:
        raise CacheError(
            f"`cache: {{mode: similar}}` compares pictures, and the input of {model.path} is none "
            f"({preprocess.spec}); write `mode: exact` or `mode: off`"
        )
    return SimilarCache(options, preprocess)


def _black_to_white(preprocess: Preprocessor) -> NDArray[np.float32]:
    """Return what lies between black and white in the model's input, for each channel."""
    _, height, width, channels = preprocess.spec.shape
    ends = []
    for grey in (0, 255):
        tensor = preprocess.buffer()
        preprocess(np.full((height, width, 3), grey, np.uint8), tensor)
        ends.append(tensor.reshape(-1, channels)[0].astype(np.float32))
    span: NDArray[np.float32] = np.abs(ends[1] - ends[0])
    span[span == 0] = 1  # a channel that never changes
    return span
