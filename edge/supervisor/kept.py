"""Reads back what the daemon has written down for itself; a damaged file is set aside."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_FILE = 4_000_000  # bytes

M = TypeVar("M", bound=BaseModel)


def read_kept(path: Path, kind: type[M], *, aside: bool = True) -> tuple[M | None, str]:
    """Return what a JSON file holds, and what was wrong with it, empty when all is well.

    None where there is no such file, or nothing that can be used. Unless told not to, it sets a
    damaged file aside.
    """
    try:
        with path.open("rb") as file:
            return kind.model_validate_json(file.read(LARGEST_FILE)), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path}: cannot be read: {error.strerror}"
    except ValidationError:
        trouble = f"{path}: is damaged"
        if aside:
            there = path.with_name(f"{path.name}.set-aside")
            with suppress(OSError):
                path.replace(there)
                trouble = f"{path}: was damaged, and is now {there.name}"
        return None, trouble
