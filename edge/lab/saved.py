"""Saves a report and reads one again; a saved file is input from outside and may be damaged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import ConfigError, EdgeError
from edge.lab.loop_report import LoopReport
from edge.lab.report import Report

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
MAX_BYTES = 64 << 20

R = TypeVar("R", Report, LoopReport)


class _Head(BaseModel):
    """What says whether the rest can be understood."""

    model_config = ConfigDict(extra="ignore", strict=True)

    format: str
    version: int


def save(report: Report | LoopReport, path: Path) -> None:
    """Write the report. Raises EdgeError where that cannot be done."""
    write_whole(path, report.model_dump_json(indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file: whoever reads meanwhile finds the old one or the new one, whole.

    A device or a pipe is written to, and stays what it is. Raises EdgeError, naming the path.
    """
    path = path.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise EdgeError(f"{path}: cannot be written: {error.strerror or error}") from error


def load(path: Path) -> Report:
    """Read a saved report. Raises ConfigError, saying what is wrong with the file."""
    return _load(path, Report, "edge-bench")


def load_loops(path: Path) -> LoopReport:
    """Read a saved report of `--pipeline`, as `load` does."""
    return _load(path, LoopReport, "edge-bench-pipeline")


def _load(path: Path, kind: type[R], wanted: str) -> R:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MB, and no saved bench")
    try:
        head = _Head.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{path}: is no bench saved with --save: {_first(error)}") from error
    if head.format != wanted:
        raise ConfigError(f"{path}: is no bench saved with --save: its format is {head.format!r}")
    if head.version != VERSION:
        raise ConfigError(
            f"{path}: was saved in version {head.version}, this edge reads version {VERSION}; "
            "measure again"
        )
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{path}: is damaged: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Return the first of the complaints in one line."""
    complaint = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, complaint["loc"]))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where + ': ' if where else ''}{' '.join(complaint['msg'].split())}{more}"
