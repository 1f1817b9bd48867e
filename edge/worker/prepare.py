"""Everything a pipeline needs before its first frame: engine, preprocessor, decoder, warm."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.config.labels import read_labels
from edge.engines.batch import BatchEngine
from edge.engines.choose import choose
from edge.engines.delegates import refuse_unfit
from edge.engines.model_file import read_model_file
from edge.errors import BatchError, DecodeError, ModelError
from edge.geometry import NO_PICTURE
from edge.wire import Ready
from edge.worker.cache import ResultCache, result_cache
from edge.worker.load_engine import load_engine
from edge.worker.preprocess import Preprocessor
from edge.worker.schedule import Costs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge.config.pipeline import Pipeline
    from edge.decoders.base import Decoder
    from edge.engines.engine import Engine
    from edge.engines.tuning import Tuning

WARM_UP_FRAMES = 3
PR_SET_TIMERSLACK = 29
SWITCH_INTERVAL_S = 50e-6  # the default of 5 ms lets the capture thread hold up a result


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pipeline that is ready for frames, on one rung of its ladder."""

    options: Pipeline
    engine: Engine
    preprocess: Preprocessor
    decode: Decoder
    keeps_state: bool
    """What the model says of a frame may depend on those before it."""
    warm_ns: int
    """How long a frame's way takes on warm caches, from pixels to predictions."""
    ready: Ready
    costs: Costs
    cache: ResultCache | None = None
    """None where every frame is run."""
    batches: BatchEngine | None = None
    """None where frames are run one at a time."""
    refusals: tuple[str, ...] = ()
    """Wishes that were not granted: the pipeline runs without."""

    @property
    def rung(self) -> int:
        """Which rung of the ladder; 0 is the pipeline as configured."""
        return self.ready.rung

    @property
    def accelerated(self) -> bool:
        """Whether an accelerator runs the model."""
        return self.ready.accelerated

    @property
    def revision(self) -> int:
        """Which of the models that the pipeline has had."""
        return self.ready.revision

    @property
    def key(self) -> tuple[int, int, bool]:
        """What it is told apart by from all else that its pipeline prepares."""
        return self.revision, self.rung, self.accelerated

    @property
    def every(self) -> int:
        """Only every n-th frame is run."""
        return self.options.every

    @property
    def batch(self) -> int:
        """How many frames can share a forward pass."""
        return self.ready.batch

    def run(self, tensors: list[NDArray[Any]]) -> list[list[NDArray[Any]]]:
        """Run at most `batch` frames in one forward pass; return the outputs of each.

        Raises ModelError when the model itself fails.
        """
        if self.batches is None:
            return [self.engine.run(tensor) for tensor in tensors]
        return self.batches.run(tensors)


def prepare(
    options: Pipeline,
    *,
    pipeline: str = "",
    tuning: Tuning | str | None = None,
    rung: int = 0,
    revision: int = 0,
    others: Iterable[Prepared] = (),
) -> Prepared:
    """Load the model, see that everything fits, and run it warm.

    `tuning` is what `find_tuning` returned for the pipeline of this name. An engine that one
    of the `others` has loaded is not loaded again; they are of the same revision.

    Raises ModelError, EngineError, AcceleratorError, DecodeError, CacheError or ConfigError, each
    saying what does not fit; GoldenError where the model gives other answers than it must.
    """
    cv2.setNumThreads(1)  # the cores belong to the forward pass
    cv2.ocl.setUseOpenCL(False)
    model = options.model
    for other in others:
        if _same_engine(other.options, options):
            return _variant(other, options, rung)
    # Before any interpreter: tflite-runtime dies of a truncated file where this says what is wrong.
    summary = read_model_file(model.path)
    if summary.keeps_state and len(options.all_sources) > 1:
        raise ModelError(
            f"{model.path}: keeps state from frame to frame, and frames of several sources would "
            "mix in it: give each source a pipeline of its own"
        )
    choice = choose(
        model.engine, model.threads, tuning=tuning, pipeline=pipeline, digest=summary.sha256
    )
    if model.accelerator is not None:
        refuse_unfit(model.accelerator, summary)
        choice = replace(choice, reason=f"it drives the {model.accelerator.title}")
    loaded = load_engine(model, choice, summary)
    engine, choice, refusals = loaded.engine, loaded.engine.choice, [*loaded.refusals]
    preprocess = Preprocessor(model, engine.inputs[0])
    if options.decode.tells_places and not preprocess.takes_pixels:
        raise DecodeError(
            f"{model.path}: `{options.decode.type}` tells places in pictures, and the model's "
            f"input is none ({preprocess.spec}); `type: raw` shows its outputs as they are"
        )
    try:
        decode = options.decode.make(engine.outputs, read_labels(model.labels))
    except DecodeError as error:
        raise DecodeError(f"{model.path}: {error}") from error
    cache = result_cache(options.cache, summary, preprocess)
    batches = None
    if options.batch.max_size > 1:
        try:
            batches = BatchEngine(engine, options.batch.max_size)
        except BatchError as error:
            refusals.append(f"`batch` was not granted, frames are run one at a time: {error}")
    first_invoke_ms, warm_ns = _warm_up(engine, preprocess, decode)
    ready = Ready(
        engine=choice.name,
        engine_version=choice.version,
        engine_reason=choice.reason,
        threads=choice.threads,
        digest=summary.sha256,
        size_bytes=summary.size_bytes,
        inputs=[str(spec) for spec in engine.inputs],
        outputs=[str(spec) for spec in engine.outputs],
        init_ms=round(loaded.init_ms, 3),
        first_invoke_ms=round(first_invoke_ms, 3),
        warm_up_frames=WARM_UP_FRAMES,
        rung=rung,
        batch=options.batch.max_size if batches is not None else 1,
        accelerated=options.accelerated,
        golden=loaded.golden,
        revision=revision,
    )
    prepared = Prepared(
        options,
        engine,
        preprocess,
        decode,
        summary.keeps_state,
        warm_ns,
        ready,
        Costs(),
        cache,
        batches,
        tuple(refusals),
    )
    for size in sorted({1, 2, prepared.batch}) if prepared.batch > 1 else ():
        prepared.costs.take(size, _time_batch(prepared, size))
    return prepared


def _same_engine(one: Pipeline, other: Pipeline) -> bool:
    """Whether two rungs of a model differ in nothing that an engine is loaded and tried for."""
    return (one.model, one.decode, one.batch) == (other.model, other.decode, other.batch)


def _variant(like: Prepared, options: Pipeline, rung: int) -> Prepared:
    """Return the same engine, with a cache of this rung's own."""
    return replace(
        like,
        options=options,
        ready=like.ready._replace(rung=rung, init_ms=0.0, first_invoke_ms=0.0),
        cache=result_cache(options.cache, read_model_file(options.model.path), like.preprocess),
    )


def quiet_python() -> None:
    """Keep the chores of Python and the kernel off the frame's way, for the process's life.

    Threads started from now on wake up on time: the kernel's default is to let sleepers lie
    50 us longer, to wake several at once (prctl(2), PR_SET_TIMERSLACK).
    """
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(1))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.disable()  # the loop collects between two frames


def _warm_up(engine: Engine, preprocess: Preprocessor, decode: Decoder) -> tuple[float, int]:
    """Run a black frame the whole way a few times.

    Returns the first forward pass in milliseconds, and the last frame's way in nanoseconds.
    """
    tensor = preprocess.buffer()
    frame = np.zeros((480, 640, 3), np.uint8)
    first_ms = 0.0
    began_ns = 0
    for count in range(WARM_UP_FRAMES):
        began_ns = time.monotonic_ns()
        if preprocess.takes_pixels:
            preprocess(frame, tensor)
        ready_ns = time.monotonic_ns()
        outputs = engine.run(tensor)
        if count == 0:
            first_ms = (time.monotonic_ns() - ready_ns) / 1e6
        decode(outputs, NO_PICTURE)
    return first_ms, time.monotonic_ns() - began_ns


def _time_batch(prepared: Prepared, size: int) -> int:
    """Return the nanoseconds that answering so many black frames at once takes."""
    tensors = [prepared.preprocess.buffer() for _ in range(size)]
    prepared.run(tensors)
    began_ns = time.monotonic_ns()
    for outputs in prepared.run(tensors):
        prepared.decode(outputs, NO_PICTURE)
    return time.monotonic_ns() - began_ns
