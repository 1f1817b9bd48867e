"""What loading a model takes: time, memory, and which operators its engine gives to a delegate.

`main` is a process of its own, for it may die of the model: started as `python -c BOOTSTRAP
MODEL ENGINE THREADS` by `edge.supervisor.trial`, it prints one JSON object.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.engines.choose import choose
from edge.engines.delegation import Delegation, delegation, nodes_of
from edge.engines.engine import interpreter_class
from edge.engines.model_file import explain_load_failure
from edge.errors import EdgeError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.engines.choose import Choice


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of this process (proc(5), smaps)."""

    total_bytes: int
    model_file_bytes: int
    """Pages of the model file that were read; the kernel shares them and can drop them."""
    anonymous_bytes: int
    """Tensors, weights packed anew for a delegate, the interpreter's own tables."""
    other_bytes: int
    """Pages of programs and libraries: the engine's code, once it is used."""

    def __sub__(self, before: Memory) -> Memory:
        """Return what was added since `before`."""
        return Memory(
            total_bytes=self.total_bytes - before.total_bytes,
            model_file_bytes=self.model_file_bytes - before.model_file_bytes,
            anonymous_bytes=self.anonymous_bytes - before.anonymous_bytes,
            other_bytes=self.other_bytes - before.other_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in an engine on this machine."""

    engine: str
    engine_version: str
    engine_reason: str
    threads: int
    init_ms: float
    """From opening the file until memory is planned: what a pipeline waits for at its start."""
    first_invoke_ms: float
    """The first forward pass, on an input of zeros."""
    delegation: Delegation | None
    """None where the engine does not list its nodes."""
    memory_added: dict[str, Memory] | None
    """By what had been done since the engine was imported: `opened`, `allocated`, `invoked`.

    None where the kernel does not tell.
    """


def load(path: Path, choice: Choice, *, threads: int) -> Loaded:
    """Load the model, run it once on zeros, and say what that took.

    Raises ModelError, saying what is wrong with the file, EngineError when the engine cannot
    be imported.
    """
    import numpy as np  # the engines bring it: part of what is there before the model

    interpreter_of = interpreter_class(choice.name)
    memory = _Memories(path)
    began_ns = time.perf_counter_ns()
    try:
        interpreter = interpreter_of(model_path=str(path), num_threads=threads)
        opened_ns = time.perf_counter_ns()
        memory.note("opened")
        operators = len(_nodes(interpreter) or ())
        resumed_ns = time.perf_counter_ns()
        interpreter.allocate_tensors()
    # As in Engine: whatever the C++ of an interpreter raises.
    except Exception as error:
        raise ModelError(explain_load_failure(path, str(error))) from error
    allocated_ns = time.perf_counter_ns()
    memory.note("allocated")
    try:
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        invoked_ns = time.perf_counter_ns()
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: the forward pass on zeros failed: {reason}") from error
    ended_ns = time.perf_counter_ns()
    memory.note("invoked")
    nodes = _nodes(interpreter)
    results = [details["index"] for details in interpreter.get_output_details()]
    return Loaded(
        engine=choice.name,
        engine_version=choice.version,
        engine_reason=choice.reason,
        threads=threads,
        init_ms=round((opened_ns - began_ns + allocated_ns - resumed_ns) / 1e6, 3),
        first_invoke_ms=round((ended_ns - invoked_ns) / 1e6, 3),
        delegation=delegation(nodes[:operators], nodes[operators:], results) if nodes else None,
        memory_added=memory.added,
    )


def _nodes(interpreter: Any) -> Any:
    """Return the interpreter's nodes, None where this version of it does not list them.

    The list has no official name in Python; both engines of today have it.
    """
    details = getattr(interpreter, "_get_ops_details", None)
    return None if details is None else nodes_of(details())


class _Memories:
    """How much memory was added by each step since this object was made."""

    def __init__(self, path: Path) -> None:
        self._name = str(path.resolve())
        gc.collect()
        with suppress(AttributeError, OSError):  # glibc's
            # What Python has freed would hide as much of what is allocated next.
            ctypes.CDLL(None).malloc_trim(0)
        self._now()  # the reading's own memory
        self._before = self._now()
        self.added: dict[str, Memory] | None = None if self._before is None else {}

    def note(self, step: str) -> None:
        now = self._now()
        if now is not None and self._before is not None and self.added is not None:
            self.added[step] = now - self._before

    def _now(self) -> Memory | None:
        try:
            with Path("/proc/self/smaps").open(encoding="utf-8", errors="replace") as lines:
                return _resident(lines, self._name)
        except OSError:
            return None


def _resident(smaps: Iterable[str], model_file: str) -> Memory:
    """Add up /proc/PID/smaps: a header for each mapping, then lines such as `Rss:  12 kB`."""
    total = model = anonymous = 0
    of_the_model = False
    for line in smaps:
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            # address, permissions, offset, device, inode, name of the file mapped
            of_the_model = line.rstrip("\n").split(maxsplit=5)[5:] == [model_file]
        elif key == "Rss:":
            total += _kilobytes(rest)
            model += _kilobytes(rest) if of_the_model else 0
        elif key == "Anonymous:":
            anonymous += _kilobytes(rest)
    return Memory(total, model, anonymous, total - model - anonymous)


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) << 10


def main() -> None:
    """Load the model that the command line names and print what that took."""
    path, engine, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    try:
        answer = asdict(load(path, choose(engine), threads=threads))
    except EdgeError as error:
        answer = {"failed": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - its one word to who started it
