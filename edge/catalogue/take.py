"""Takes a model from a URL into a folder: its card first, and the files that the card vouches for.

Also a process of its own, `python -c BOOTSTRAP FOLDER OPTIONS` as `edge.supervisor.trial.ask`
starts it, for those that must neither ask a server nor check a signature themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from edge.catalogue.card import (
    CARD,
    MAX_CARD_BYTES,
    SIGNATURE,
    CardFile,
    check_files,
    parse_card,
    read_card_bytes,
    sha256_of,
)
from edge.catalogue.fetch import enough_room, fetch, fetch_bytes, part_names
from edge.catalogue.keys import PublicKey
from edge.catalogue.place import check_replaceable, put_in_place, workplace
from edge.catalogue.signed import fetch_signature
from edge.catalogue.urls import ANYWHERE, Access, joined
from edge.errors import CardError, EdgeError, FetchError
from edge.state import write_durably

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.catalogue.card import Card
    from edge.catalogue.keys import Verified

MOST_BYTES = 512 << 20  # of a model's folder, unless somebody says otherwise


class Taken(NamedTuple):
    """A model's folder that is in its place."""

    folder: Path
    card: Card
    sha256: str
    """Of the card."""
    verified: Verified | None
    """Who signed it; None where there was no key to check that with."""
    fetched_bytes: int
    """0 where the same model was there already."""


class Told(NamedTuple):
    """A card as it came, before its files."""

    card: Card
    content: bytes
    signature: bytes | None
    verified: Verified | None

    @property
    def sha256(self) -> str:
        """Of the card's bytes."""
        return sha256_of(self.content)


def ask_for_card(
    url: str,
    *,
    keys: Sequence[PublicKey] = (),
    sha256: str | None = None,
    access: Access = ANYWHERE,
) -> Told:
    """Fetch the card behind a URL, and its signature.

    With keys one of them must have signed it, with a digest it must have that. Raises FetchError,
    SignatureError or CardError.
    """
    content = fetch_bytes(url, max_bytes=MAX_CARD_BYTES, access=access)
    if sha256 is not None and (found := sha256_of(content)) != sha256:
        changed = "it was changed since, or on its way"
        raise FetchError(f"{url}: has the sha256 {found[:12]}..., not {sha256[:12]}...: {changed}")
    signed = fetch_signature(url, content, keys, access, needed=bool(keys))
    return Told(parse_card(content, url), content, signed.signature, signed.verified)


def take(
    url: str,
    told: Told,
    folder: Path,
    *,
    max_bytes: int = MOST_BYTES,
    access: Access = ANYWHERE,
    on_bytes: Callable[[int], None] = lambda _: None,
    waiting: Callable[[], None] = lambda: None,
) -> Taken:
    """Fetch what the card at `url` names, and put it with the card in `folder`, whole.

    What was fetched before it broke off lies beside it, and the next call goes on with that.
    `on_bytes` is told how many bytes of all are there. Raises FetchError or CardError.
    """
    card = told.card
    if card.size_bytes > max_bytes:
        raise FetchError(
            f"{url}: has {card.size_bytes:,} bytes, and at most {max_bytes:,} are taken"
        )
    fetched_bytes = 0
    try:
        with workplace(folder, waiting) as place:
            if _is_there(told, folder):
                shutil.rmtree(place)
            else:
                check_replaceable(folder)
                fetched_bytes = _fill(place, url, told, access, on_bytes)
                put_in_place(place, folder)
    except OSError as error:
        raise FetchError(f"{error.filename or folder}: {error.strerror or error}") from error
    return Taken(folder, card, told.sha256, told.verified, fetched_bytes)


def _is_there(told: Told, folder: Path) -> bool:
    """Whether the folder holds this very model; a signature that it lacks is added."""
    try:
        if read_card_bytes(folder) != told.content:
            return False
        check_files(told.card, folder)
    except CardError:
        return False
    if told.signature is not None and (told.verified or not (folder / SIGNATURE).exists()):
        write_durably(folder / SIGNATURE, told.signature, mode=0o644)
    return True


def _fill(
    place: Path, url: str, told: Told, access: Access, on_bytes: Callable[[int], None]
) -> int:
    """Fetch what is not there yet; return how many bytes that were."""
    files = told.card.files
    _keep_only(place, {form for name in files for form in (name, *part_names(name))})
    missing = [name for name, file in files.items() if not _is_whole(place / name, file)]
    here_bytes = sum(path.stat().st_size for path in place.iterdir())
    enough_room(place, max(told.card.size_bytes - here_bytes, 0))
    before = fetched_bytes = 0
    for name, file in files.items():

        def here(at: int, before: int = before) -> None:
            on_bytes(before + at)

        if name in missing:
            fetched_bytes += fetch(
                joined(url, name, access),
                place / name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                access=access,
                on_bytes=here,
            )
        before += file.size_bytes
        on_bytes(before)
    _keep_only(place, set(files))
    (place / CARD).write_bytes(told.content)
    if told.signature is not None:
        (place / SIGNATURE).write_bytes(told.signature)
    return fetched_bytes


def _keep_only(place: Path, names: set[str]) -> None:
    """Remove what is of another card, or of a process that was killed."""
    for path in place.iterdir():
        if path.name not in names:
            path.unlink()


def _is_whole(path: Path, file: CardFile) -> bool:
    try:
        return CardFile.of(path, file.role) == file
    except CardError:
        return False


class _Options(BaseModel):
    """What the process is told: a JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    keys: list[str] = []
    """Public keys, `RW...`; one of them must have signed the card, where there are any."""
    sha256: str | None = None
    """Of the card."""
    max_bytes: int = MOST_BYTES
    ca_file: Path | None = None
    http_hosts: list[str] = []
    connect_s: float = ANYWHERE.connect_s
    stall_s: float = ANYWHERE.stall_s
    tries: int = ANYWHERE.tries


def main() -> None:
    """Take the model that the command line tells of, and print one JSON object.

    That is what `Taken` holds, with the card's name, version and model file in place of the card;
    or `failed`, a class in `edge.errors`, and `message`.
    """
    words = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else may be taken for our word
    try:
        said = _taken(Path(sys.argv[1]), sys.argv[2])
    except EdgeError as error:
        said = {"failed": type(error).__name__, "message": str(error)}
    words.write(json.dumps(said))
    words.close()


def _taken(folder: Path, options: str) -> dict[str, Any]:
    told = _Options.model_validate_json(options)
    access = Access(
        ca_file=told.ca_file,
        http_hosts=frozenset(told.http_hosts),
        connect_s=told.connect_s,
        stall_s=told.stall_s,
        tries=told.tries,
    )
    keys = [PublicKey.parse(key) for key in told.keys]
    card = ask_for_card(told.url, keys=keys, sha256=told.sha256, access=access)
    taken = take(told.url, card, folder, max_bytes=told.max_bytes, access=access)
    return {
        "folder": str(taken.folder),
        "name": taken.card.name,
        "version": taken.card.version,
        "model": taken.card.model,
        "sha256": taken.sha256,
        "key_id": taken.verified.key_id if taken.verified else None,
        "comment": taken.verified.comment if taken.verified else "",
        "size_bytes": taken.card.size_bytes,
        "fetched_bytes": taken.fetched_bytes,
    }
