"""What commands have changed and a restart must not undo: paused pipelines, thresholds, deadlines.

The YAML stays the operator's: a value that a command has set holds only as long as the YAML says
what it said then, and goes when it is edited there. A paused pipeline stays paused until it is
resumed, or is no longer in the YAML.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from edge.state import file_name, state_directory, write_durably
from edge.supervisor.kept import read_kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.pipeline import Pipeline

Key = Literal["threshold", "deadline_ms"]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Override(_Kept):
    """A value that a command has set."""

    value: float
    instead_of: float
    """What the YAML said; once it says something else it is heard again."""


class Steered(_Kept):
    """What commands have changed of one pipeline."""

    paused: bool = False
    overrides: dict[Key, Override] = {}


class _File(_Kept):
    version: Literal[1] = 1
    pipelines: dict[str, Steered] = {}


class Steering:
    """The changes to all pipelines of a device, and their file in the state directory."""

    def __init__(self, device: str, environ: Mapping[str, str] = os.environ) -> None:
        """Read the file, where there is one."""
        folder = state_directory(environ)
        self._path = folder and folder / f"steering-{file_name(device)}.json"
        self.trouble = ""
        """What was wrong with the file, and where it is now; empty when all is well."""
        self._kept: dict[str, Steered] = {}
        if self._path is not None:
            found, self.trouble = read_kept(self._path, _File)
            self._kept = dict(found.pipelines) if found is not None else {}

    def of(self, name: str) -> Steered:
        """Return what was changed of a pipeline."""
        return self._kept.get(name, Steered())

    def applied(self, name: str, pipeline: Pipeline) -> Pipeline:
        """Return the YAML's pipeline with what commands have changed of it."""
        return with_values(
            pipeline, {key: each.value for key, each in self._holding(name, pipeline).items()}
        )

    def _holding(self, name: str, pipeline: Pipeline) -> dict[Key, Override]:
        return {
            key: each
            for key, each in self.of(name).overrides.items()
            if value_of(pipeline, key) == each.instead_of
        }

    def overrides(self, name: str, pipeline: Pipeline) -> dict[str, float]:
        """Return the values that hold instead of those of the YAML's pipeline."""
        return {key: each.value for key, each in self._holding(name, pipeline).items()}

    def pause(self, name: str, *, paused: bool) -> None:
        """Remember whether a pipeline is paused."""
        self._kept[name] = self.of(name).model_copy(update={"paused": paused})

    def override(self, name: str, pipeline: Pipeline, values: Mapping[Key, float]) -> None:
        """Remember values instead of those of the YAML's pipeline; others are forgotten."""
        overrides = {}
        for key, value in values.items():
            before = value_of(pipeline, key)
            if before is not None and before != value:
                overrides[key] = Override(value=value, instead_of=before)
        self._kept[name] = self.of(name).model_copy(update={"overrides": overrides})

    def follow(self, pipelines: Mapping[str, Pipeline]) -> bool:
        """Forget what no longer holds by the YAML's pipelines; return whether that was anything."""
        before, self._kept = self._kept, {}
        for name, pipeline in pipelines.items():
            if name in before:
                self._kept[name] = before[name]
                holding = self._holding(name, pipeline)
                self._kept[name] = Steered(paused=before[name].paused, overrides=holding)
        return self._kept != before

    def write(self) -> str:
        """Write the file in one stroke, to last a power cut; return why not, where it cannot be.

        It takes as long as the disk does.
        """
        if self._path is None:
            return "there is no state directory: set STATE_DIRECTORY or HOME"
        worth = {name: each for name, each in self._kept.items() if each != Steered()}
        content = _File(pipelines=worth).model_dump_json(indent=1).encode()
        try:
            write_durably(self._path, content)
        except OSError as error:
            return f"{error.filename or self._path.parent}: {error.strerror}"
        return ""


def value_of(pipeline: Pipeline, key: Key) -> float | None:
    """Return a pipeline's value; None where it has no such thing."""
    if key == "deadline_ms":
        return pipeline.deadline_ms
    threshold: float | None = getattr(pipeline.decode, "threshold", None)
    return threshold


def with_values(pipeline: Pipeline, values: Mapping[Key, float]) -> Pipeline:
    """Return a pipeline with other values."""
    changed: dict[str, object] = {}
    if "deadline_ms" in values:
        changed["deadline_ms"] = values["deadline_ms"]
    if "threshold" in values:
        changed["decode"] = pipeline.decode.model_copy(update={"threshold": values["threshold"]})
    return pipeline.model_copy(update=changed) if changed else pipeline
