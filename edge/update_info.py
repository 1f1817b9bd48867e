"""What the info message says of models that came over the air."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInfo:
    """A model that came over the air."""

    name: str
    version: str
    digest: str
    """SHA-256 of its card, in hex."""
    key_id: str
    """Of the key that has signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEnd:
    """How an update ended."""

    ending: Literal["good", "refused", "rolled_back"]
    title: str
    """Name and version, or the URL where they were never known."""
    why: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateInfo:
    """Which model of a pipeline came over the air, and what is on its way."""

    phase: Literal["none", "fetching", "trying", "shadow", "probation"]
    """Of the update under way; `none` where there is none."""
    serving: ReleaseInfo | None
    """Null where it is the YAML's model."""
    good: ReleaseInfo | None
    """The last good one, which is gone back to; null is the YAML's."""
    candidate: ReleaseInfo | None
    """The new one, once it is verified."""
    fetched_bytes: int | None
    """How much of it is here, while it is fetched."""
    last: UpdateEnd | None
    """How the last update ended."""
