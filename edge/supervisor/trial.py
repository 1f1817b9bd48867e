"""Jobs at the command line that need a process of their own: a worker, or a single question.

A model is opened there and never here: it may take its process with it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from edge import errors
from edge.errors import EdgeError, ModelError
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import (
    ENVIRONMENT,
    WorkerProcess,
    how_it_ended,
    python_command,
)
from edge.wire import Failed, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config.pipeline import Pipeline


def records(name: str, options: Pipeline, *, check_only: bool = False) -> Iterator[Record]:
    """Run a pipeline in a worker of its own and yield what it says.

    Raises what made the worker fail, or ModelError with its last words when it died.
    """
    worker = WorkerProcess(name, options, check_only=check_only)
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
                    raise getattr(errors, record.error, EdgeError)(record.message)
                if record is not None:
                    yield record
        status = worker.process.wait()
        if status:
            while data := os.read(worker.output, 65536):
                words.feed(data)
            raise _died(options.model.path, status, words)
    finally:
        worker.close()


class Answer(NamedTuple):
    """What a process said: the object it was asked for, and the lines beside it."""

    found: dict[str, Any]
    lines: list[str]


def ask(module: str, model: Path, *arguments: str) -> Answer:
    """Run a module's `main` on a model and return the one JSON object that it prints.

    An object with `failed`, a class in `edge.errors`, and `message` is raised as that error.
    Raises ModelError with the process's last words when it died without an answer.
    """
    done = subprocess.run(
        python_command(module, str(model), *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | ENVIRONMENT,
        check=False,
    )
    words = LastWords()
    lines = words.feed(done.stderr)
    if not done.stdout:
        raise _died(model, done.returncode, words)
    found: dict[str, Any] = json.loads(done.stdout)
    if "failed" in found:
        raise getattr(errors, found["failed"], EdgeError)(found["message"])
    return Answer(found, lines)


def _died(model: Path, status: int, words: LastWords) -> ModelError:
    words.feed(b"")
    said = f"; its last words: {words.gist}" if words.gist else ""
    return ModelError(f"{model}: the process that ran it ended: {how_it_ended(status)}{said}")
