"""What an accelerator is: a TFLite external delegate in a library, its options, its troubles."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo

from edge.options import Options

if TYPE_CHECKING:
    from collections.abc import Container

Cause = Literal[
    "library_missing",
    "library_unusable",
    "no_device",
    "no_permission",
    "busy",
    "incompatible_library",
    "not_compiled",
    "takes_nothing",
    "runtime_too_old",
    "refused",
    "crashed",
    "hung",
    "failed",
]
"""Why an accelerator cannot be used; `failed` is for what none of the others names."""

Step = Literal["engine", "library", "delegate", "model", "invoke"]
"""How far a try came: importing the engine, loading the library, creating its delegate, handing
it the model's operators, running a forward pass."""

OF_EVERY_ENGINE: frozenset[Cause] = frozenset(
    {
        "library_missing",
        "library_unusable",
        "no_device",
        "no_permission",
        "busy",
        "not_compiled",
        "runtime_too_old",
        "hung",
    }
)
"""Causes that another engine would only meet again."""

STEPS: dict[Step, str] = {
    "engine": "while the engine was imported",
    "library": "while its library was loaded",
    "delegate": "while its delegate was made",
    "model": "while the model was handed to it",
    "invoke": "in a forward pass",
}


class Trouble(NamedTuple):
    """What was seen of an accelerator that cannot be used, before it is explained."""

    step: Step
    engine: str
    said: str
    """What the engine or the library said, or how the process ended: one line, may be empty."""
    cause: Cause = "failed"
    """What is known already: that it crashed or hung, that there is no library."""


class Explained(NamedTuple):
    """The cause of a trouble, and a sentence on it with its cure."""

    cause: Cause
    message: str


def _library(name: str, info: ValidationInfo) -> str:
    """Return a library's name: one with a slash is a path, relative to the YAML's folder."""
    if "/" not in name:
        return name
    path = Path(name).expanduser()
    folder = (info.context or {}).get("folder")
    if folder is None or path.is_absolute():
        return str(path)
    return os.path.normpath(Path(folder) / path)


Library = Annotated[str, Field(min_length=1), AfterValidator(_library)]
"""A shared object: a path, or the name that the system's linker looks for."""


class AcceleratorOptions(Options, abc.ABC):
    """What all accelerators have in common; each says its own `type`."""

    type: str = Field(description="Kind of accelerator.")

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What people call it."""

    @abc.abstractmethod
    def library_names(self) -> list[str]:
        """Return the libraries to try, best first, each a path or a linker's name."""

    @abc.abstractmethod
    def delegate_options(self) -> dict[str, str]:
        """Return what the delegate is made with."""

    @abc.abstractmethod
    def claims(self) -> str | None:
        """Return the device it takes for itself alone, as people name it; None where unknown."""

    def excludes(self, other: AcceleratorOptions) -> bool:
        """Whether both may want one device, which serves one process at a time."""
        return self.claims() is not None and self.claims() == other.claims()

    def unfit(self, path: Path, operators: Container[str]) -> Explained | None:
        """Return why a model cannot run on it, as far as the model's file tells."""
        del path, operators
        return None

    @abc.abstractmethod
    def explain(self, trouble: Trouble) -> Explained:
        """Return what is wrong and what to do, as far as the trouble and the machine tell."""

    def remarks(self, *, taken: int, operators: int) -> list[str]:
        """Return what is worth a word though it can be used.

        `taken` of the model's `operators` run on it.
        """
        del taken, operators
        return []

    def reset(self) -> str:
        """Reset the device, where that can be done and is permitted, after it stopped answering.

        Returns a sentence on what was done, or why it could not be; empty where there is nothing
        to reset.
        """
        return ""
