"""What a check of the doctor's says, and what a check is."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

Level = Literal["ok", "warning", "problem"]
Group = Literal["software", "machine", "devices", "broker", "service", "configuration"]
GROUPS: tuple[Group, ...] = (
    "software",
    "machine",
    "devices",
    "broker",
    "service",
    "configuration",
)
"""In the order they are told."""
LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    level: Level
    """`problem`: it does not work, or will not; `warning`: it works, and yet."""
    what: str
    """What it is about, in a word or two; it stands at the beginning of the line."""
    says: str
    cure: str | None = None
    """The one thing to do, a command where there is one; None where nothing is wrong."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was found, for programs; units stand in the keys."""


def ok(what: str, says: str, **facts: Any) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding("ok", what, says, facts=facts)


def warning(what: str, says: str, cure: str, **facts: Any) -> Finding:
    """Return a finding that is worth a look."""
    return Finding("warning", what, says, cure, facts)


def problem(what: str, says: str, cure: str, **facts: Any) -> Finding:
    """Return a finding that has to be mended."""
    return Finding("problem", what, says, cure, facts)


class Check(abc.ABC):
    """Looks at one thing. It runs in a thread of its own, beside the others."""

    name: ClassVar[str]
    group: ClassVar[Group]
    limit_s: ClassVar[float] = LIMIT_S
    """After so many seconds nobody waits for it any more."""

    @abc.abstractmethod
    def look(self, patient: Patient) -> Iterator[Finding]:
        """Yield what is found. What it raises becomes a problem of this check."""
