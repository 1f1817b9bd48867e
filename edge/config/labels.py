"""The names of a model's classes, from the YAML or from a file with one a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_labels(labels: Path | Sequence[str] | None) -> list[str]:
    """Return the labels, one a class. Raises ConfigError when their file cannot be read."""
    if labels is None:
        return []
    if not isinstance(labels, Path):
        return list(labels)
    try:
        text = labels.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{labels}: the labels cannot be read: {reason}") from error
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ConfigError(f"{labels}: holds no labels; one a line is expected")
    return lines
