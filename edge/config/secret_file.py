"""Reads secrets from where the YAML says; they stand in no message."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

LONGEST_PASSWORD = 65_535  # bytes, the limit of MQTT


def read_secret(secret: SecretStr | None, file: Path | None, field: str) -> str | None:
    """Return a secret that is known already, or the text of its file without the last line end.

    `field` is how the YAML calls the file. Raises ConfigError.
    """
    if secret is not None:
        return secret.get_secret_value()
    if file is None:
        return None
    try:  # the path is not told: somebody may put the password there
        with file.open("rb") as opened:
            password = opened.read(LONGEST_PASSWORD + 3).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{field}: holds no text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no path"
        raise ConfigError(f"{field}: the file cannot be read: {reason}") from None
    password = password.removesuffix("\n").removesuffix("\r")
    if not password:
        raise ConfigError(f"{field}: the file is empty")
    if len(password.encode()) > LONGEST_PASSWORD:
        raise ConfigError(f"{field}: is longer than a password can be ({LONGEST_PASSWORD} bytes)")
    return password


def open_to_all(file: Path) -> bool:
    """Whether every user of the machine may read a file."""
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
