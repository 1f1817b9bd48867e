"""A worker for a job at the command line: its records one after another, until it ends."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from edge import errors
from edge.errors import EdgeError, ModelError
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import WorkerProcess, how_it_ended
from edge.wire import Failed, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.pipeline import Pipeline


def records(
    name: str, options: Pipeline, *, device: str | None = None, check_only: bool = False
) -> Iterator[Record]:
    """Run a pipeline in a worker of its own and yield what it says.

    A model is opened there and never here: it may take its process with it. Raises what made
    the worker fail, or ModelError with its last words when it died.
    """
    worker = WorkerProcess(name, options, device=device, check_only=check_only)
    words = LastWords()
    try:
        while True:
            wire, output = worker.wire.socket.fileno(), worker.output
            ready, _, _ = select.select([wire, output], [], [])
            if output in ready:
                words.feed(os.read(output, 65536))
            if wire in ready:
                try:
                    record = worker.wire.receive()
                except ConnectionError:
                    break
                if isinstance(record, Failed):
                    raise error_of(record)
                if record is not None:
                    yield record
        if worker.process.wait():
            raise death_of(worker, words, options)
    finally:
        worker.close()


def death_of(worker: WorkerProcess, words: LastWords, options: Pipeline) -> ModelError:
    """Return the error that tells how a worker ended that did not say so itself."""
    how = how_it_ended(worker.process.wait())
    while data := os.read(worker.output, 65536):
        words.feed(data)
    words.feed(b"")
    said = f"; its last words: {words.gist}" if words.gist else ""
    return ModelError(f"{options.model.path}: the process that ran it ended: {how}{said}")


def error_of(failed: Failed) -> EdgeError:
    """Return the error that made a worker fail, as its process raised it."""
    kind: type[EdgeError] = getattr(errors, failed.error, EdgeError)
    return kind(failed.message)
