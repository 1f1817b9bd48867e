"""Several frames in one forward pass, for the models that can do so and answer the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.engine import Engine
from edge.engines.likeness import steps_apart
from edge.engines.model_file import read_model_file
from edge.engines.noise import random_tensor
from edge.errors import BatchError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.tensors import TensorSpec

SEED = 5
FLOAT_TOLERANCE = 1e-4  # of the largest value: sums in another order end in other last digits


class BatchEngine:
    """An engine that runs up to so many frames at once, any number of them, without padding.

    One further interpreter serves all sizes. To resize it takes 5 to 100 us (x86-64, pictures
    of 32x32 to 513x513) and the pass after it no longer than the next; an interpreter
    for each size would hold its activations and packed weights once more.
    """

    def __init__(self, engine: Engine, max_size: int) -> None:
        """Load the model once more and try it, with two frames and with `max_size`.

        Raises BatchError, saying why, where the model cannot be resized, keeps state from one
        pass to the next, or answers batched frames otherwise than single ones; `engine`, which
        runs what comes alone, is then as good as before.
        """
        self._single = engine
        _refuse_unfit(engine)
        self._several = Engine(engine.path, engine.choice, threads=engine.threads)
        (spec,) = engine.inputs
        self._frames = np.empty((max_size, *spec.shape[1:]), spec.dtype)
        self._try(max_size)

    @property
    def sizes(self) -> range:
        """How many frames it can be given at once."""
        return range(1, len(self._frames) + 1)

    def run(self, tensors: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
        """Run one forward pass on frames, each a tensor of the engine's input shape and dtype.

        Returns for each frame what `Engine.run` would. Raises ModelError when the model itself
        fails, ValueError for another number of frames than `sizes` has.
        """
        size = len(tensors)
        if size not in self.sizes:
            raise ValueError(f"{size} frames at once, with at most {len(self._frames)}")
        if size == 1:
            return [self._single.run(tensors[0])]
        return _each(self._run_together(tensors), size)

    def _run_together(self, tensors: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        size = len(tensors)
        if self._several.inputs[0].shape[0] != size:
            self._several.resize_batch(size)
        return self._several.run(np.concatenate(tensors, out=self._frames[:size]))

    def _try(self, max_size: int) -> None:
        """Compare a pair, and the largest batch, which claims all memory there will be to claim."""
        generator = np.random.default_rng(SEED)
        frames = [random_tensor(self._single.inputs[0], generator) for _ in range(max_size)]
        expected = [self._single.run(frame) for frame in frames]
        for size in sorted({2, max_size}):
            try:
                outputs = self._run_together(frames[:size])
            except ModelError as error:
                reason = str(error).removeprefix(f"{self._single.path}: ")
                raise _cannot(self._single, reason) from error
            # Of the answers themselves: a graph that works out its shapes as it runs, as Keras
            # exports where the batch is open, has told the old ones until then.
            found = [output.shape for output in outputs]
            wanted = [(size, *spec.shape[1:]) for spec in self._single.outputs]
            if found != wanted:
                raise _cannot(
                    self._single,
                    f"{size} at once give outputs of {_extents(found)}, not {_extents(wanted)}",
                )
            self._compare(_each(outputs, size), expected[:size])

    def _compare(
        self, answers: list[list[NDArray[Any]]], expected: list[list[NDArray[Any]]]
    ) -> None:
        for at, (batched, single) in enumerate(zip(answers, expected, strict=True), 1):
            for spec, one, other in zip(self._single.outputs, batched, single, strict=True):
                if not _alike(one, other, spec):
                    raise _cannot(
                        self._single,
                        f"frame {at} of {len(answers)} gets another output {spec.name} than alone",
                    )


def _each(outputs: list[NDArray[Any]], size: int) -> list[list[NDArray[Any]]]:
    """Return the outputs of each frame."""
    return [[output[at : at + 1] for output in outputs] for at in range(size)]


def _cannot(engine: Engine, reason: str) -> BatchError:
    return BatchError(f"{engine.path}: cannot run several frames in one forward pass: {reason}")


def _refuse_unfit(engine: Engine) -> None:
    """Raise BatchError for what a look at the model tells."""
    if engine.accelerator is not None:
        raise _cannot(engine, f"it runs on the {engine.accelerator.title}, whose work is planned")
    if read_model_file(engine.path).keeps_state:
        raise _cannot(engine, "it keeps state from one frame to the next")
    for spec in (*engine.inputs, *engine.outputs):
        if spec.shape[:1] != (1,):
            raise _cannot(engine, f"{spec.name} ({spec}) has no first extent of 1")


def _alike(one: NDArray[Any], other: NDArray[Any], spec: TensorSpec) -> bool:
    """Tell whether two outputs are the same but for rounding.

    Both engines' kernels gave equal integers in batches of 2 to 8 with every model tried; a
    quantized output is allowed one step all the same, for that is all that rounding can explain.
    """
    if one.shape != other.shape:
        return False
    step = 1.0 if spec.scale else 0.0
    if one.dtype.kind == "f":
        step = FLOAT_TOLERANCE * float(np.max(np.abs(other), initial=0.0))
    return bool(np.max(steps_apart(one, other[np.newaxis], step), initial=0.0) <= 1)


def _extents(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
