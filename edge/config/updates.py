"""Updates over the air: whose models are taken, and from where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from edge.catalogue.keys import PublicKey, public_key
from edge.config.mqtt import PemFile
from edge.errors import ConfigError, SignatureError
from edge.options import Options, against_the_yaml

if TYPE_CHECKING:
    from typing_extensions import Self

KEY_TEXT = re.compile(r"[A-Za-z0-9+/]{56}")
PORTS = {"http": 80, "https": 443}


def _key(value: str, info: ValidationInfo) -> str:
    """Return a key's text, or the path of its file against the YAML's folder."""
    if "\n" in value:
        raise ValueError("must be one line: the key itself, or the path of its file")
    if not KEY_TEXT.fullmatch(value):
        return str(against_the_yaml(Path(value), info))
    try:
        return PublicKey.parse(value).text
    except SignatureError as error:
        raise ValueError(str(error)) from None


def url_prefix(value: str) -> str:
    """Return the beginning of URLs, as it stands. Raises ValueError where it is none."""
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise ValueError("is no URL") from None
    wanted = url.scheme == "file" if not url.hostname else url.scheme in PORTS
    if not wanted:
        raise ValueError("must begin with https://HOST/, http://HOST/ or file:///")
    if url.username is not None or url.query or url.fragment:
        raise ValueError("must hold no user, password, ? or #")
    if not url.path.endswith("/"):
        raise ValueError("must end with /: what is fetched lies below it")
    return value


class Updates(Options):
    """Whose models are taken over the air, and from where; without keys none ever is."""

    keys: list[Annotated[str, AfterValidator(_key)]] = Field(
        default=[],
        description="Public keys of those who may sign models for this device: each as minisign "
        "writes it (`RW...`), or the path of its file. Without one no update is ever taken.",
    )
    fetch_from: list[Annotated[str, AfterValidator(url_prefix)]] = Field(
        default=[],
        description="Beginnings of the URLs that models may be fetched from, each to the end of a "
        "folder: `https://models.example.com/porch/`. `http://` is taken as well, since what "
        "counts is the signature, and `file:///`, for a stick.",
    )
    ca_file: PemFile | None = Field(
        default=None,
        description="Certificates (PEM) of the CAs that the servers' must come from; without it "
        "those the system trusts.",
    )
    max_mb: float = Field(
        default=64,
        gt=0,
        le=4096,
        description="Megabytes that a model's folder may have, all files together.",
    )
    timeout_s: float = Field(
        default=900,
        ge=1,
        le=86_400,
        description="Seconds that fetching a model may take; a fetch that breaks off goes on where "
        "it was.",
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.keys) != bool(self.fetch_from):
            raise ValueError("`keys` and `fetch_from` go together: give both or neither")
        return self

    @property
    def max_bytes(self) -> int:
        """How large a model's folder may be."""
        return int(self.max_mb * 1_000_000)

    def may_fetch(self, url: str) -> bool:
        """Whether a URL lies below one that models may be fetched from."""
        return any(_below(url, prefix) for prefix in self.fetch_from)

    def public_keys(self) -> list[PublicKey]:
        """Return the keys, read from their files. Raises ConfigError."""
        try:
            return [public_key(key) for key in self.keys]
        except SignatureError as error:
            raise ConfigError(f"updates.keys: {error}") from None


def _below(url: str, prefix: str) -> bool:
    try:
        asked, allowed = urlsplit(url), urlsplit(prefix)
        same = (asked.scheme, asked.hostname) == (allowed.scheme, allowed.hostname)
        same = same and _port(asked) == _port(allowed) and asked.username is None
    except ValueError:
        return False
    path = unquote(asked.path)
    climbs = ".." in path.split("/") or "\\" in path
    whole = url.isprintable() and " " not in url and not asked.query and not asked.fragment
    return same and whole and not climbs and asked.path.startswith(allowed.path)


def _port(url: object) -> int | None:
    scheme, port = getattr(url, "scheme", ""), getattr(url, "port", None)
    return port if port is not None else PORTS.get(scheme)
