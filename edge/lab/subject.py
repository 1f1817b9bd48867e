"""What is measured: a model on an engine with so many threads, loaded in a probe process."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.errors import ModelError
from edge.lab.probe_wire import Load, Loaded, ProbeWire, Samples, Slice, SliceEnded
from edge.supervisor.memory import rss_bytes
from edge.supervisor.process import ChildProcess
from edge.supervisor.trial import hear

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge.engines.choose import Choice

SILENT_LIMIT_S = 120.0  # loading a large model on a slow card, or one slice


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the table."""

    model: Path
    engine: str
    engine_version: str
    threads: int
    input_size: tuple[int, int] | None = None
    """Width and height; None: as the model's file has it."""
    batch: int = 1
    """Frames to a forward pass."""


CONTROL = Subject(Path("the control"), "control", "", 1)
"""Runs along in every bench: what it takes longer, the machine was slower."""


def combine(
    models: Iterable[Path],
    engines: Iterable[Choice],
    threads: Iterable[int],
    sizes: Iterable[tuple[int, int] | None],
    batches: Iterable[int] = (1,),
) -> list[Subject]:
    """Return every model in every size on every engine with every thread count and batch."""
    every = itertools.product(models, sizes, engines, threads, batches)
    return [
        Subject(model, engine.name, engine.version, count, size, batch)
        for model, size, engine, count, batch in every
    ]


class Probe:
    """A subject in a process of its own, idle until it is asked for a slice."""

    def __init__(self, subject: Subject) -> None:
        """Load it. Raises what made it fail: ModelError or EngineError."""
        self.subject = subject
        self._child = ChildProcess("edge.lab.probe")
        self._wire = ProbeWire(self._child.socket)
        model = subject.model
        self._said = hear(self._child, self._wire, model, silent_limit_s=SILENT_LIMIT_S)
        try:
            self.loaded = self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> Loaded:
        of = self.subject
        job = Load(str(of.model), of.engine, of.threads, of.input_size, of.batch)
        with contextlib.suppress(ConnectionError):
            self._wire.send(job)
        loaded = next(self._said, None)
        if not isinstance(loaded, Loaded):
            raise self._fell_silent()
        return loaded

    def measure(self, order: Slice) -> tuple[NDArray[np.int64], SliceEnded]:
        """Have one slice measured; return the nanoseconds of each invoke, and how it went.

        Raises ModelError, with its last words when the process died.
        """
        with contextlib.suppress(ConnectionError):  # what it said, or its death, tells why
            self._wire.send(order)
        parts = []
        for record in self._said:
            if isinstance(record, Samples):
                parts.append(np.frombuffer(record.int64_ns, np.int64))
            elif isinstance(record, SliceEnded):
                return np.concatenate(parts), record
        raise self._fell_silent()

    def _fell_silent(self) -> ModelError:
        return ModelError(f"{self.subject.model}: the process that ran it ended without a word")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.process.pid

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process: Python, numpy, the engine, the model."""
        return rss_bytes(self.pid) or 0

    def close(self) -> None:
        """End the process."""
        self._child.close()
