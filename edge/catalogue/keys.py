"""Public keys of those who sign models, as minisign writes them.

Format: https://jedisct1.github.io/minisign/, section "Public key format".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from edge.errors import SignatureError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

MAX_TEXT_BYTES = 16 << 10
COMMENT = "untrusted comment: "
ED25519 = b"Ed"
KEY_BYTES = 2 + 8 + 32
SECRET = "secret key"  # noqa: S105  what the comment of a secret key's file holds


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key and the number that its signatures bear."""

    number: bytes
    """8 bytes."""
    key: bytes
    """32 bytes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the line `RW...`, or a whole file of minisign's. Raises SignatureError."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines and lines[0].startswith(COMMENT):
            if SECRET in lines[0]:
                raise SignatureError("is a secret key: give the public one, and keep this to you")
            lines = lines[1:]
        try:
            (line,) = lines
            raw = base64.b64decode(line, validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        if len(raw) != KEY_BYTES or raw[:2] != ED25519:
            raise SignatureError("is no minisign public key: a line of 56 letters, RW...")
        return cls(raw[2:10], raw[10:])

    @property
    def id(self) -> str:
        """The number as minisign shows it: 16 hexadecimal digits."""
        return shown(self.number)

    @property
    def text(self) -> str:
        """The line `RW...`."""
        return base64.b64encode(ED25519 + self.number + self.key).decode()

    @property
    def file(self) -> str:
        """What minisign writes to a public key's file."""
        return f"{COMMENT}minisign public key {self.id}\n{self.text}\n"


class Verified(NamedTuple):
    """Who signed, and what they said beside it."""

    key_id: str
    comment: str
    """The trusted comment, which is signed as well."""


def shown(number: bytes) -> str:
    """Return a key's number as minisign shows it: its 8 bytes as one little-endian integer."""
    return number[::-1].hex().upper()


def public_key(told: str | Path) -> PublicKey:
    """Return a key from its line `RW...`, or from a file. Raises SignatureError."""
    text = str(told)
    where = ""
    if not (text.startswith("RW") and len(text) == len(base64.b64encode(bytes(KEY_BYTES)))):
        where = f"{text}: "
        text = read_text(text)
    try:
        return PublicKey.parse(text)
    except SignatureError as error:
        raise SignatureError(f"{where or f'{text!r} '}{error}") from error


def read_text(path: str | Path, kind: Literal["key", "signature"] = "key") -> str:
    """Return the text of a small file. Raises SignatureError."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a text may be no path
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise SignatureError(f"{path}: is too large for a {kind}")
        return content.decode()
    except UnicodeDecodeError:
        raise SignatureError(f"{path}: is not text, and so no {kind}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SignatureError(f"{path}: cannot be read: {reason}") from None
