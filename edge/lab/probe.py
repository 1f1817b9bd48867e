"""A probe process: one model on one engine, whose bare forward pass is timed in slices.

Started by `edge.lab.subject`, never by a person. It imports no OpenCV and decodes nothing.
"""

from __future__ import annotations

import faulthandler
import gc
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.engine import Engine, interpreter_class, tensor_spec
from edge.engines.model_file import explain_load_failure
from edge.engines.noise import random_tensor
from edge.errors import EdgeError, ModelError
from edge.lab.probe_wire import Load, Loaded, ProbeRecord, ProbeWire, Samples, Slice, SliceEnded
from edge.wire import LARGEST_BYTES, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROL_ENGINE = "control"
CONTROL_STEPS = 3000
SEED = 4
PICTURE_RANK = 4  # batch, height, width, channels
CHUNK_BYTES = LARGEST_BYTES // 16 * 8  # whole int64, well below a packet's limit


def main() -> None:
    """Load what the bench sends first, then measure slices until it hangs up."""
    faulthandler.enable()
    wire = ProbeWire(socket.socket(fileno=int(sys.argv[1])))
    try:
        job = _next(wire)
        if not isinstance(job, Load):
            raise TypeError(f"expected what to load first, not {job!r}")
        invoke, loaded = load(job)
        wire.send(loaded, may_wait=True)
        gc.collect()
        gc.freeze()
        gc.disable()
        while isinstance(order := _next(wire), Slice):
            try:
                measure(invoke, order, lambda record: wire.send(record, may_wait=True))
            except RuntimeError as error:
                raise _forward_pass_failed(Path(job.model), error) from error
    except EdgeError as error:
        wire.send(Failed(type(error).__name__, str(error)), may_wait=True)
        sys.exit(error.exit_status)
    except ConnectionError:
        return  # the bench is done with us, or gone


def _next(wire: ProbeWire) -> ProbeRecord:
    while (record := wire.receive()) is None:
        wire.wait(timeout_s=60)
    return record


def load(job: Load) -> tuple[Callable[[], None], Loaded]:
    """Load the model, fill its inputs, run it once; return what runs it again.

    Raises ModelError when the engine refuses the model, or the size asked for, BatchError when
    it cannot run so many frames at once or would answer them otherwise.
    """
    if job.engine == CONTROL_ENGINE:
        return control, Loaded([], [], 0.0, 0.0)
    path = Path(job.model)
    began = time.perf_counter_ns()
    make = interpreter_class(job.engine)
    imported = time.perf_counter_ns()
    if job.batch > 1:
        _try_batch(path, job)
    resumed = time.perf_counter_ns()
    try:
        interpreter = make(model_path=str(path), num_threads=job.threads)
        if job.batch > 1:
            (details,) = interpreter.get_input_details()
            extents = [job.batch, *details["shape"][1:]]
            interpreter.resize_tensor_input(details["index"], extents)
        if job.input_size is None:
            interpreter.allocate_tensors()
    except Exception as error:  # whatever the interpreter's C++ does
        raise ModelError(explain_load_failure(path, str(error))) from error
    if job.input_size is not None:
        _resize(interpreter, job)
    init_ns = imported - began + time.perf_counter_ns() - resumed
    generator = np.random.default_rng(SEED)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], random_tensor(tensor_spec(details), generator))
    began = time.perf_counter_ns()
    try:
        interpreter.invoke()
    except RuntimeError as error:
        raise _forward_pass_failed(path, error) from error
    first_ns = time.perf_counter_ns() - began
    return interpreter.invoke, Loaded(
        inputs=[str(tensor_spec(details)) for details in interpreter.get_input_details()],
        outputs=[str(tensor_spec(details)) for details in interpreter.get_output_details()],
        init_ms=round(init_ns / 1e6, 3),
        first_invoke_ms=round(first_ns / 1e6, 3),
    )


def _try_batch(path: Path, job: Load) -> None:
    """Find out whether the model runs so many frames at once; what is measured is loaded anew."""
    # Imported here, for their memory would be in the figures of those that run without.
    from edge.engines.batch import BatchEngine
    from edge.engines.choose import choose

    BatchEngine(Engine(path, choose(job.engine), threads=job.threads), job.batch)


def _resize(interpreter: Any, job: Load) -> None:
    """Give the model's picture another size.

    Not every model that lets this happen is made for it: one whose head takes what is too much
    for further pictures has an output with another batch, and is refused like the others.
    """
    assert job.input_size is not None  # noqa: S101  the caller has looked
    width, height = job.input_size
    refused = f"{job.model}: its input cannot be made {width}x{height}"
    pictures = [d for d in interpreter.get_input_details() if len(d["shape"]) == PICTURE_RANK]
    if not pictures:
        raise ModelError(f"{refused}: it takes no picture (batch, height, width, channels)")
    picture = pictures[0]
    batch, _height, _width, channels = (int(extent) for extent in picture["shape"])
    before = _batches(interpreter)
    try:
        interpreter.resize_tensor_input(picture["index"], [batch, height, width, channels])
        interpreter.allocate_tensors()
    except Exception as error:
        reason = _one_line(error).rstrip(".")
        raise ModelError(f"{refused}: {job.engine} says: {reason}") from error
    after = _batches(interpreter)
    if after != before:
        raise ModelError(f"{refused}: it would take the picture for {after[0]} pictures")


def _batches(interpreter: Any) -> list[int]:
    """Return the first extent of each output."""
    return [int(d["shape"][0]) if len(d["shape"]) else 0 for d in interpreter.get_output_details()]


def _forward_pass_failed(path: Path, error: RuntimeError) -> ModelError:
    return ModelError(f"{path}: the forward pass failed: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def control() -> None:
    """Do a fixed piece of work that no engine has a part in: a tenth of a millisecond or so.

    How long it takes says how fast the machine itself was during a run.
    """
    value = 1
    for _ in range(CONTROL_STEPS):
        value = value * 3 & 0xFFFF


def measure(invoke: Callable[[], None], order: Slice, tell: Callable[[ProbeRecord], None]) -> None:
    """Time one slice and tell its samples."""
    warm_up, _ = _timed(invoke, order.warm_up_ns, order.warm_up_invokes, order.period_ns)
    samples, elapsed_ns = _timed(invoke, order.measure_ns, 1, order.period_ns)
    data = samples.tobytes()
    for start in range(0, len(data), CHUNK_BYTES):
        tell(Samples(data[start : start + CHUNK_BYTES]))
    tell(SliceEnded(elapsed_ns, len(warm_up)))


def _timed(
    invoke: Callable[[], None], duration_ns: int, at_least: int, period_ns: int
) -> tuple[array[int], int]:
    """Return the durations of invokes made for so long, and how long they took together.

    A paced invoke waits asleep, as one for a camera does; starts that the model was too slow for
    are left out.
    """
    now = time.perf_counter_ns
    samples = array("q")
    began = due = now()
    while len(samples) < at_least or now() - began < duration_ns:
        if period_ns:
            due = max(due + period_ns, now())
            time.sleep(max(0, due - now()) / 1e9)
        before = now()
        invoke()
        samples.append(now() - before)
    return samples, now() - began
