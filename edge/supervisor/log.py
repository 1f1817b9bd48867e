"""The log: one event a line, key=value, to standard error, or with its fields to the journal."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from edge.supervisor.journald import PRIORITIES, Journal, is_the_journal

LOGGER = logging.getLogger("edge")
STDERR = 2


def start(*, verbose: bool) -> None:
    """Send the log to standard error, in the journal's form where that is what listens."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    journal = is_the_journal(STDERR)
    handler.setFormatter(_Line(journal=journal))
    LOGGER.handlers[:] = [Journal(otherwise=handler) if journal else handler]
    LOGGER.propagate = False
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO)


def log(level: int, event: str, message: str = "", **fields: Any) -> None:
    """Write one line: the event, its fields, and a sentence for a person."""
    if LOGGER.isEnabledFor(level):
        words = [event, *(f"{key}={_value(value)}" for key, value in fields.items())]
        if message:
            words.append(f"message={_value(message)}")
        told = {"event": event, **fields, **({"message": message} if message else {})}
        LOGGER.log(level, "%s", " ".join(words), extra={"fields": told})


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text and text.isprintable() and not any(sign in text for sign in ' "=\\'):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # What is left may still end a line for some reader, or command a terminal.
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in quoted)


class _Line(logging.Formatter):
    """`<priority>event ...` (sd-daemon(3)) for the journal, which has the time; else with it."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = record.getMessage()
        if self._journal:
            return f"<{PRIORITIES.get(record.levelno, 6)}>{line}"
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock}.{int(record.msecs):03d} {record.levelname.lower():7} {line}"
