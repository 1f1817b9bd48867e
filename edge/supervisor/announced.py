"""Remembers what Home Assistant was told of this device, so that it can be taken back."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.state import file_name, state_directory
from edge.supervisor.log import log

if TYPE_CHECKING:
    from pathlib import Path


class Announced(BaseModel):
    """What lies retained at the broker, or may."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: dict[str, str]
    """The platform of each entity, by its key."""
    topics: list[str]
    """Of the discovery payload and of the states."""

    def __or__(self, other: Announced) -> Announced:
        """Return what is in one or the other."""
        return Announced(
            components=self.components | other.components,
            topics=list(dict.fromkeys([*self.topics, *other.topics])),
        )


class Memory:
    """Keeps it in a file of the state directory; without one it is lost with the daemon."""

    def __init__(self, device: str) -> None:
        """Read what is known of a device of this name."""
        folder = state_directory()
        name = f"home-assistant-{file_name(device)}.json"
        self._path = folder / name if folder is not None else None
        self.device = device
        self.announced = _read(self._path) if self._path is not None else None

    def write(self, announced: Announced | None) -> None:
        """Remember; None is nothing. A disk that refuses is told, and no more."""
        self.announced = announced
        if self._path is None:
            return
        try:
            if announced is None:
                self._path.unlink(missing_ok=True)
            else:
                _write(self._path, json.dumps(announced.model_dump(), indent=1))
        except OSError as error:
            log(
                logging.WARNING,
                "not_remembered",
                f"{self._path}: {error.strerror}; entities that go while the daemon is down "
                "will have to be removed in Home Assistant by hand",
            )


def _read(path: Path) -> Announced | None:
    try:
        return Announced.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None  # nothing was announced, or nobody knows


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody finds half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
