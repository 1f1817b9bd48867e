"""Questions that may crash or hang whoever asks them: each is put in a process of its own."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import Any, NamedTuple

from edge.supervisor.last_words import LastWords
from edge.supervisor.process import child_environment, how_it_ended, python_command

DYING_S = 1.0


class Said(NamedTuple):
    """What a process said, and what became of it."""

    answers: list[dict[str, Any]]
    """The JSON objects it printed, one a line, until its end."""
    trouble: str
    """How it ended where that was not in order; empty where it was."""
    words: tuple[str, ...] = ()
    """Its last lines on standard error, where it ended so."""


def ask(module: str, *arguments: str, limit_s: float) -> Said:
    """Run a module's `main`, which prints JSON objects; it is killed after `limit_s` seconds."""
    return hear(python_command(module, *arguments), limit_s=limit_s)


def hear(command: list[str], *, limit_s: float) -> Said:
    """Run a command that prints JSON objects."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    try:
        printed, complaints = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as expired:
        process.kill()
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
        # Whoever sleeps in the kernel dies later, or never: it is not waited for.
        with suppress(subprocess.TimeoutExpired):
            process.wait(DYING_S)
        return Said(_objects(expired.stdout or b""), f"said nothing more for {limit_s:g} s")
    if not process.returncode:
        return Said(_objects(printed), "")
    words = LastWords()
    words.feed(complaints)
    words.feed(b"")
    said = f": {words.gist}" if words.gist else ""
    trouble = f"{how_it_ended(process.returncode)}{said}"
    return Said(_objects(printed), trouble, tuple(words.lines))


def _objects(printed: bytes) -> list[dict[str, Any]]:
    found = []
    for line in printed.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue  # cut off in the middle, or a library's own word
        if isinstance(one, dict):
            found.append(one)
    return found


def output_of(*command: str, limit_s: float = 5.0) -> str | None:
    """Return what a program of the system prints; None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
            env=child_environment() | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.decode("utf-8", "replace")
