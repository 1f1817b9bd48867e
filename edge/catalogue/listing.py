"""A catalogue: a YAML file that lists models, where their cards are, and their digests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import quote

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edge.catalogue.card import (
    CARD,
    Card,
    Line,
    ModelName,
    Sha256,
    Version,
    check_files,
    parse_card,
    problems_in_lines,
    read_card_bytes,
    sha256_of,
)
from edge.catalogue.fetch import fetch_bytes
from edge.catalogue.plain_yaml import read_plain_yaml
from edge.catalogue.signed import fetch_signature
from edge.catalogue.text import printable
from edge.catalogue.urls import ANYWHERE, Access, as_url, joined
from edge.errors import CardError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.catalogue.keys import PublicKey, Verified

CATALOGUE = "catalogue.yaml"
MAX_BYTES = 1 << 20
MOST_MODELS = 1000
HEAD = "# Written by `edge models index`: do not edit.\n"


class Entry(BaseModel):
    """A model of a catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    card: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(printable)]
    """Where its card is, or the folder with it: a URL, or a path against the catalogue's own."""
    sha256: Sha256
    """Of the card."""
    size_bytes: int = Field(ge=1)
    """Of all files together, without the card."""
    version: Version
    licence: Line
    description: Line


class Catalogue(BaseModel):
    """Models by their names."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    models: dict[ModelName, Entry] = Field(max_length=MOST_MODELS)


class Read(NamedTuple):
    """A catalogue as it was read."""

    url: str
    catalogue: Catalogue
    verified: Verified | None = None
    """Who signed it; None where it is not signed, or there was no key to check that with."""

    def card_url(self, name: str, access: Access = ANYWHERE) -> str:
        """Return where a model's card is. Raises CardError, FetchError."""
        if name not in self.catalogue.models:
            names = ", ".join(sorted(self.catalogue.models)) or "none"
            raise CardError(f"{self.url}: lists no model {name!r}; it has: {names}")
        return joined(self.url, card_file(self.catalogue.models[name].card), access)


def card_file(place: str) -> str:
    """Return the place of a card, for a card's or a folder's."""
    if place.endswith((".yaml", ".yml")):
        return place
    return f"{place.removesuffix('/')}/{CARD}"


def read_catalogue(
    place: str | Path, *, keys: Sequence[PublicKey] = (), access: Access = ANYWHERE
) -> Read:
    """Read a catalogue from a path or a URL; where it is signed, one of the keys must have done it.

    Raises FetchError, SignatureError or CardError.
    """
    url = as_url(place)
    content = fetch_bytes(url, max_bytes=MAX_BYTES, access=access)
    signed = fetch_signature(url, content, keys, access, needed=False) if keys else None
    data = read_plain_yaml(content, name=url, max_bytes=MAX_BYTES)
    try:
        return Read(url, Catalogue.model_validate(data), signed and signed.verified)
    except ValidationError as error:
        raise CardError(problems_in_lines(error, url)) from error


def index(folder: Path) -> str:
    """Return the catalogue of the models below a folder, as the text of its file.

    Each must be what its card says. Raises CardError.
    """
    entries = {}
    try:
        names = sorted(path.parent.name for path in folder.glob(f"*/{CARD}"))
    except OSError as error:
        raise CardError(f"{folder}: cannot be read: {error.strerror}") from error
    for name in names:
        content = read_card_bytes(folder / name)
        card = parse_card(content, str(folder / name / CARD))
        check_files(card, folder / name)
        if card.name in entries:
            raise CardError(f"{folder / name}: is the second model called {card.name}")
        entries[card.name] = entry_of(card, content, name)
    if not entries:
        raise CardError(f"{folder}: no folder in it has a {CARD}")
    models = {name: entry.model_dump() for name, entry in entries.items()}
    return HEAD + yaml.safe_dump({"models": models}, sort_keys=False, allow_unicode=True, width=96)


def entry_of(card: Card, content: bytes, place: str) -> Entry:
    """Return what a catalogue says of a model."""
    return Entry(
        card=f"{quote(place)}/{CARD}",
        sha256=sha256_of(content),
        size_bytes=card.size_bytes,
        version=card.version,
        licence=card.licence,
        description=card.description,
    )
