"""What `edge tune` found: a file in the state directory, which `engine: auto` reads.

The file is advice. However damaged or strange it is, no pipeline fails for it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.engines.cpu import Cpu
from edge.errors import ConfigError
from edge.state import state_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 1 << 20
LONGEST_REASON = 500
LONGEST_STEM = 180  # a file's name may have 255 bytes


class Tuned(BaseModel):
    """The choice for one pipeline, and what it was made on."""

    model_config = ConfigDict(frozen=True)

    engine: str
    threads: int = Field(ge=1, le=64)
    because: str = Field(max_length=LONGEST_REASON)
    """One sentence for a person, with the figures that decided."""
    holds_deadline: bool
    digest: str
    """SHA-256 of the model that was measured, in hex."""
    engines: dict[str, str]
    """The engines that took part, with their versions."""
    evidence: dict[str, Any]
    """What was measured of each candidate, for people and programs."""


class Tuning(BaseModel):
    """The file: one device, its pipelines."""

    model_config = ConfigDict(frozen=True)

    format: Literal["edge-runtime tuning"] = "edge-runtime tuning"
    version: Literal[1] = 1
    device: str
    at: str
    """When it was made: UTC in ISO 8601, by a clock that may not have been set."""
    clock_synced: bool
    cpu: Cpu
    pipelines: dict[str, Tuned]

    @property
    def day(self) -> str:
        """The date it was made."""
        return self.at.partition("T")[0]

    def why_void(
        self,
        pipeline: str,
        *,
        engine: str,
        threads: int | Literal["auto"],
        digest: str,
        versions: Mapping[str, str],
        cpu: Cpu,
    ) -> str | None:
        """Say why it does not hold for a pipeline as it is now; None when it does.

        `engine` and `threads` are the configuration's, `versions` those of the engines that
        are installed.
        """
        tuned = self.pipelines[pipeline]
        if digest != tuned.digest:
            return "the model is another one"
        if cpu != self.cpu:
            return f"it was made on another processor ({self.cpu}), this is {cpu}"
        for name in sorted({*tuned.engines, *versions} if engine == "auto" else {engine}):
            then, now = tuned.engines.get(name), versions.get(name)
            if then != now:
                return f"{name} was {then or 'not installed'} and is {now or 'not installed'}"
        if engine not in {"auto", tuned.engine}:
            return f"it chose {tuned.engine}, and the configuration asks for {engine}"
        if threads not in {"auto", tuned.threads}:
            return f"it was made with {tuned.threads} threads, the configuration asks for {threads}"
        return None


def tuning_file(folder: Path, device: str) -> Path:
    """Return the path of a device's file."""
    return folder / f"{quote(device, safe=' ')[:LONGEST_STEM]}.tuning.json"


def find_tuning(device: str, pipeline: str) -> Tuning | str | None:
    """Return the tuning of a device when it is about this pipeline, None when there is none.

    A text says why the file that is there cannot be used.
    """
    folder = state_directory()
    if folder is None:
        return None
    path = tuning_file(folder, device)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the tuning in {path} cannot be read: {error.strerror}"
    if len(content) > MAX_BYTES:
        return f"{path} is too large for a tuning; `edge tune` writes it anew"
    try:
        tuning = Tuning.model_validate_json(content)
    except ValidationError:
        return f"{path} is damaged or no tuning; `edge tune` writes it anew"
    if tuning.device != device:
        return f"{path} is the tuning of another device, {tuning.device}"
    return tuning if pipeline in tuning.pipelines else None


def write_tuning(tuning: Tuning, folder: Path) -> Path:
    """Write a device's file in one stroke; return its path. Raises ConfigError when it cannot.

    Everybody may read it: root may tune for a service that runs as a user of its own.
    """
    path = tuning_file(folder, tuning.device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".tuning-", dir=folder)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor has no path
                file.write(tuning.model_dump_json(indent=2).encode() + b"\n")
                file.flush()
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder}: the tuning cannot be written: {error.strerror}"
        ) from error
    return path


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk too: an SD card may lose its power the next moment."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
