"""The folder of traces: written in one stroke, bounded in number and bytes, read with suspicion."""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edge.errors import ConfigError
from edge.state import state_directory
from edge.supervisor.story import Story

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.recorder import Recorder

MAX_BYTES = 64 << 20  # of a trace unpacked; ours have some hundred kB
NAME = re.compile(r"trace-(\d+)-.*\.json\.gz")
UNFINISHED = ".trace-"  # what a file's name begins with while it is written
ABANDONED_S = 60.0  # a file is written in a fraction of a second
LARGEST_NUMBER = 10**12


def traces_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return where traces lie; None where there is no state directory."""
    state = state_directory(environ)
    return None if state is None else state / "traces"


def list_traces(folder: Path) -> list[Path]:
    """Return the traces in a folder, newest first; none where it is not there.

    Their numbers tell the order: a clock may have been wrong. Raises OSError.
    """
    try:
        numbered = [(int(found[1]), path) for path in folder.iterdir() if (found := _named(path))]
    except FileNotFoundError:
        return []
    return [path for _, path in sorted(numbered, reverse=True)]


def _named(path: Path) -> re.Match[str] | None:
    found = NAME.fullmatch(path.name)
    return found if found and int(found[1]) < LARGEST_NUMBER else None


def write_trace(
    folder: Path, stem: str, events: list[dict[str, Any]], story: Story, bounds: Recorder
) -> Path:
    """Write a trace and delete the oldest until all keep to the bounds; return its path.

    Raises OSError when it cannot be written.
    """
    document = {"displayTimeUnit": "ms", "edge": story.model_dump(), "traceEvents": events}
    packed = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 6)
    folder.mkdir(parents=True, exist_ok=True)
    _make_room(folder, bounds, coming_bytes=len(packed))
    newest = list_traces(folder)[:1]
    number = 1 + max((int(found[1]) for path in newest if (found := _named(path))), default=0)
    path = folder / f"trace-{number:06}-{stem}.json.gz"
    descriptor, unfinished = tempfile.mkstemp(prefix=UNFINISHED, dir=folder)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor has no path
            file.write(packed)
            os.fchmod(descriptor, 0o644)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return path


def _make_room(folder: Path, bounds: Recorder, *, coming_bytes: int) -> None:
    """Delete the oldest traces, and what an earlier daemon left unfinished."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if abs(time.time() - left.stat().st_mtime) > ABANDONED_S:
            left.unlink(missing_ok=True)
    kept = list_traces(folder)
    sizes = [path.stat().st_size for path in kept]
    while kept and (
        len(kept) >= bounds.keep or sum(sizes) + coming_bytes > bounds.max_mb * 1_000_000
    ):
        kept.pop().unlink(missing_ok=True)
        sizes.pop()


def read_story(path: Path) -> Story:
    """Return the story of a trace file. Raises ConfigError saying why it cannot be told."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: is damaged: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is too large for a trace of ours")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: is damaged, or no trace: it holds no JSON") from None
    told = document.get("edge") if isinstance(document, dict) else None
    if not isinstance(told, dict) or told.get("format") != "edge-runtime trace":
        raise ConfigError(f"{path}: is no trace that `edge run` has written")
    if told.get("version") != 1:
        raise ConfigError(f"{path}: was written by another version of edge-runtime")
    try:
        story = Story.model_validate(told)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError(f"{path}: is damaged: `{where}` is not as `edge run` writes it") from None
    if story.offending is not None and not 0 <= story.offending < len(story.frames):
        raise ConfigError(f"{path}: is damaged: the offending frame is not in it")
    return story
