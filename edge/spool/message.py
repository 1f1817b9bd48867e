"""A message that must arrive, as it is kept."""

from __future__ import annotations

from typing import NamedTuple


class Outgoing(NamedTuple):
    """One message on its way to the broker."""

    topic: str
    payload: bytes
    correlation: bytes | None = None
    """Correlation data of the request it answers."""
    worth: float = float("inf")
    """What it is worth to be kept when not all can be: a result's best score; of others no end."""
