"""A broker, and what it asks of who wants in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Access:
    """Where a broker is and who we are to it; what is secret in it is in no `repr`."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """How the connection is encrypted; None where it is not."""

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
