"""Another model in the shadow of the one that serves: it answers some frames again, unheard.

It has the engine's turn after a result has left, and only where it will be through before the next
frame wants it. What it says is compared and forgotten.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import EdgeError, ModelError
from edge.sources.base import ModelInput
from edge.wire import Shadowed
from edge.worker.schedule import Costs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.decoders.base import Prediction
    from edge.wire import Record
    from edge.worker.mailbox import Slot
    from edge.worker.prepare import Prepared
    from edge.worker.recorder import Recorder

GOLDEN = (5**0.5 - 1) / 2
TO_SPARE = 1.25  # times the longest of its last passes
FIRST_TRY = 16
LONGEST_FAILURE = 500  # characters
INPUT = ("resize", "interpolation", "colour", "mean", "std")


class Shadow:
    """Chooses frames, keeps what it needs of them, and runs the other model on them."""

    def __init__(
        self, tell: Callable[[Record], None], recorder: Recorder, *, live: bool = True
    ) -> None:
        """A source that is not `live` has written the next frame before there is time for one."""
        self._tell = tell
        self._live = live
        self._recorder = recorder
        self.way: Prepared | None = None
        """The model in shadow; None where there is none."""
        self.skipped = 0
        """Frames that were chosen and for which there was no time, since it began."""
        self.retrievals: Counter[int] = Counter()
        """How many frames each source has retrieved, by its number: its memory has that one."""
        self._share = 0.0
        self._in_a_row, self._try_after = 0, FIRST_TRY
        self._costs = Costs()
        self._compared: tuple[tuple[int, int, bool], bool] | None = None

    def begin(self, way: Prepared, share: float) -> None:
        """Run a model on a share of the frames from now on, in the place of any other.

        Raises ModelError where the model has to see every frame.
        """
        if way.keeps_state:
            raise ModelError(
                f"{way.options.model.path}: keeps state from frame to frame, so it would need all "
                "frames of a stream of its own: it cannot run in shadow"
            )
        self.end()
        self._share, self.skipped, self._compared = share, 0, None
        self._in_a_row, self._try_after = 0, FIRST_TRY
        self._costs = Costs()
        self._costs.take(1, way.warm_ns)
        self._tensor = way.preprocess.buffer()
        self.way = way

    def end(self) -> None:
        """Run it no more. A pass under way is not waited for."""
        self.way = None

    def has_input_of(self, serving: Prepared) -> bool:
        """Whether what is made of a frame for the serving model does for this one, too."""
        key, compared = serving.key, self._compared
        if compared is None or compared[0] != key:
            way = self.way
            compared = self._compared = key, way is None or same_input(serving, way)
        return compared[1]

    def captured(self, slot: Slot, frame: NDArray[Any] | ModelInput) -> None:
        """Keep what is needed of a frame, if it is chosen, while its source holds it."""
        way, slot.shadow = self.way, -1
        if way is None:
            slot.pixels = None
        elif is_chosen(slot.frame, self._share):
            slot.shadow = way.revision
            if self.has_input_of(slot.way):
                slot.pixels = None
            elif self._live:  # to copy it would cost the frame some of its time
                slot.pixels, slot.retrieval = frame, self.retrievals[slot.source]
            else:
                slot.pixels, slot.retrieval = _copied(frame, slot.pixels), -1

    def has_time(self, now_ns: int, until_ns: int) -> bool:
        """Whether a pass that begins now will have ended by then, as far as is known.

        Passes that were timed on a busy core may have taken far longer than they need. So it is
        tried all the same after `FIRST_TRY` frames in a row without time, then after twice as many.
        """
        if now_ns + TO_SPARE * self._costs.most(1) < until_ns:
            self._try_after = FIRST_TRY
            return True
        if self._in_a_row < self._try_after:
            return False
        self._try_after *= 2
        return True

    @property
    def least_ns(self) -> int:
        """How long a pass takes at the least."""
        return self._costs.least(1)

    def skip(self) -> None:
        """Count a chosen frame for which there is no time; let one slow pass be forgotten by it."""
        self.skipped += 1
        self._in_a_row += 1
        self._costs.take(1, self._costs.least(1))

    def run(self, way: Prepared, slot: Slot, predictions: list[Prediction]) -> None:
        """Answer a frame, and tell how that compares with what the serving model has said.

        `way` is the model in shadow for which it was chosen.
        """
        self._in_a_row = 0
        began_ns = time.monotonic_ns()
        self._recorder.shadowing(slot, began_ns)
        agreed, failure, inference_ns = None, "", 0
        try:
            tensor, geometry = slot.tensor, slot.geometry
            if slot.pixels is not None:
                tensor = self._tensor
                own = way.preprocess(slot.pixels, tensor)
                geometry = own.of_size(geometry.width, geometry.height)
                if slot.retrieval not in {-1, self.retrievals[slot.source]}:
                    self.skip()  # the next frame came early, and was written over it
                    return
            ready_ns = time.monotonic_ns()
            outputs = way.engine.run(tensor)
            inference_ns = time.monotonic_ns() - ready_ns
            found = way.decode(outputs, geometry)
            agreed = slot.way.options.decode.agrees(predictions, found)
            self._costs.take(1, time.monotonic_ns() - began_ns)
        except Exception as error:  # noqa: BLE001  whatever it is, the pipeline has its result
            kind = "" if isinstance(error, EdgeError) else f"{type(error).__name__}: "
            failure = f"{kind}{error}"[:LONGEST_FAILURE]
        served_ns = slot.inferred_ns - slot.taken_ns
        self._recorder.shadowed(slot, began_ns, time.monotonic_ns())
        at = (way.revision, slot.frame, slot.source)
        self._tell(Shadowed(*at, agreed, served_ns, inference_ns, failure))


def is_chosen(frame: int, share: float) -> bool:
    """Whether a frame is in the share: always the same ones, spread evenly.

    The multiples of the golden ratio, modulo 1, fill the interval evenly (Weyl 1916), and so do
    those of every n-th frame: a source of which only each other frame is run is met as well.
    """
    return frame * GOLDEN % 1.0 < share


def same_input(one: Prepared, other: Prepared) -> bool:
    """Whether two models make the same input of a frame."""
    mine, theirs = one.preprocess.spec, other.preprocess.spec
    specs = [(spec.shape, spec.dtype, spec.scale, spec.zero_point) for spec in (mine, theirs)]
    models = [
        [getattr(each.options.model, field) for field in INPUT]
        if each.preprocess.takes_pixels
        else []
        for each in (one, other)
    ]
    return specs[0] == specs[1] and models[0] == models[1]


def _copied(
    frame: NDArray[Any] | ModelInput, memory: NDArray[Any] | ModelInput | None
) -> NDArray[Any] | ModelInput:
    """Return a copy of a frame, in the memory of an earlier one where it fits."""
    if isinstance(frame, ModelInput):
        data = frame.data
        return ModelInput(data if isinstance(data, bytes) else data.copy())
    if isinstance(memory, np.ndarray) and memory.shape == frame.shape:
        np.copyto(memory, frame)
        return memory
    copy: NDArray[Any] = frame.copy()
    return copy
