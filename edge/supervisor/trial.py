"""A child process for a job at the command line: its records one after another, until it ends."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any, TypeVar

from edge import errors
from edge.errors import EdgeError, ModelError
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import ChildProcess, WorkerProcess, how_it_ended
from edge.wire import Failed, Record, RecordWire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config.pipeline import Pipeline

R = TypeVar("R", bound="tuple[Any, ...]")


def records(
    name: str, options: Pipeline, *, device: str | None = None, check_only: bool = False
) -> Iterator[Record]:
    """Run a pipeline in a worker of its own and yield what it says.

    A model is opened there and never here: it may take its process with it. Raises what made
    the worker fail, or ModelError with its last words when it died.
    """
    worker = WorkerProcess(name, options, device=device, check_only=check_only)
    try:
        yield from hear(worker, worker.wire, options.model.path)
    finally:
        worker.close()


def hear(
    child: ChildProcess, wire: RecordWire[R], model: Path, *, silent_limit_s: float | None = None
) -> Iterator[R]:
    """Yield what a child that runs a model says, until it ends.

    Raises what made it fail, or ModelError with its last words when it died, or when it said
    nothing for `silent_limit_s`.
    """
    words = LastWords()
    while True:
        said, output = wire.socket.fileno(), child.output
        ready, _, _ = select.select([said, output], [], [], silent_limit_s)
        if not ready:
            raise ModelError(f"{model}: the process that ran it was silent for {silent_limit_s} s")
        if output in ready:
            words.feed(os.read(output, 65536))
        if said in ready:
            try:
                record = wire.receive()
            except ConnectionError:
                break
            if isinstance(record, Failed):
                raise error_of(record)
            if record is not None:
                yield record
    if child.process.wait():
        raise death_of(child, words, model)


def error_of(failed: Failed) -> EdgeError:
    """Return the error that made a child fail, as its process raised it."""
    kind: type[EdgeError] = getattr(errors, failed.error, EdgeError)
    return kind(failed.message)


def death_of(child: ChildProcess, words: LastWords, model: Path) -> ModelError:
    """Return the error that tells how a child ended that did not say so itself."""
    how = how_it_ended(child.process.wait())
    while data := os.read(child.output, 65536):
        words.feed(data)
    words.feed(b"")
    gist = f"; its last words: {words.gist}" if words.gist else ""
    return ModelError(f"{model}: the process that ran it ended: {how}{gist}")
