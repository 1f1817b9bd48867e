"""A broker, and what it asks of who wants in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from edge.mqtt.certificates import Certificate


@dataclass(frozen=True, slots=True)
class Access:
    """Where a broker is and who we are to it; what is secret in it is in no `repr`.

    Two are equal where one is as good as the other: same place, names, secrets, certificates.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """How the connection is encrypted; None where it is not."""
    tls_digest: bytes = field(default=b"", repr=False)
    """Of all that `tls` was made of."""
    certificates: tuple[Certificate, ...] = ()
    """Those that `tls` was made of, whose end is to be told."""
    remarks: tuple[str, ...] = field(default=(), compare=False)
    """What works, and yet leaves a secret open to others."""

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
