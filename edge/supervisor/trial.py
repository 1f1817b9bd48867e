"""Jobs at the command line that need a process of their own: a worker, or a single question.

A model is opened there and never here: it may take its process with it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from edge import errors
from edge.errors import EdgeError, ModelError
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import (
    ChildProcess,
    WorkerProcess,
    child_environment,
    how_it_ended,
    python_command,
)
from edge.wire import Failed, Record, RecordWire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.config.pipeline import Pipeline


R = TypeVar("R", bound="tuple[Any, ...]")


def records(
    name: str,
    options: Pipeline,
    *,
    device: str | None = None,
    check_only: bool = False,
    silent_limit_s: float | None = None,
) -> Iterator[Record]:
    """Run a pipeline in a worker of its own and yield what it says.

    Raises what made the worker fail, or ModelError with its last words when it died, or when it
    said nothing for `silent_limit_s`.
    """
    worker = WorkerProcess(name, options, device=device, check_only=check_only)
    try:
        yield from hear(worker, worker.wire, options.model.path, silent_limit_s=silent_limit_s)
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
            raise ModelError(
                f"{model}: the process that ran it said nothing for {silent_limit_s:g} s"
            )
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


def death_of(child: ChildProcess, words: LastWords, model: Path) -> ModelError:
    """Return the error that tells how a child ended that did not say so itself."""
    status = child.process.wait()
    while data := os.read(child.output, 65536):
        words.feed(data)
    return _died(model, status, words)


def error_of(failed: Failed) -> EdgeError:
    """Return the error that made a process fail, as that process raised it."""
    kind: type[EdgeError] = getattr(errors, failed.error, EdgeError)
    return kind(failed.message)


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
        env=child_environment(),
        check=False,
    )
    words = LastWords()
    lines = words.feed(done.stderr)
    if not done.stdout:
        raise _died(model, done.returncode, words)
    found: dict[str, Any] = json.loads(done.stdout)
    if "failed" in found:
        raise error_of(Failed(found["failed"], found["message"]))
    return Answer(found, lines)


def _died(model: Path, status: int, words: LastWords) -> ModelError:
    words.feed(b"")
    said = f"; its last words: {words.gist}" if words.gist else ""
    return ModelError(f"{model}: the process that ran it ended: {how_it_ended(status)}{said}")
