"""What the actions of `edge models` have in common: where models are, whom to trust."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.catalogue.keys import PublicKey
    from edge.catalogue.listing import Read
    from edge.catalogue.urls import Access

HERE = Path("models")
NAME = re.compile(r"[a-z0-9-]{1,64}")


def add_catalogue(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a catalogue."""
    parser.add_argument(
        "--catalogue",
        metavar="PLACE",
        help="a path or URL of a catalogue.yaml (default: this project's models)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whose signature counts."""
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="PUBLIC",
        help="take only what this key signed: RW..., or the file of a minisign public key; "
        "may be given several times",
    )


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how far servers are trusted."""
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) that vouch for servers, in place of the system's",
    )
    parser.add_argument(
        "--allow-http",
        action="append",
        default=[],
        metavar="HOST",
        help="a host that may be asked without encryption (this machine may be anyway)",
    )
    parser.add_argument(
        "--tries",
        type=int,
        default=5,
        metavar="N",
        help="how often in a row it may break off without getting further (default %(default)s)",
    )


def access_of(args: argparse.Namespace) -> "Access":
    """Return how servers are asked."""
    from edge.catalogue.urls import Access

    return Access(
        ca_file=args.ca_file, http_hosts=frozenset(args.allow_http), tries=max(args.tries, 1)
    )


def keys_of(args: argparse.Namespace) -> "list[PublicKey]":
    """Return whose signature counts. Raises SignatureError."""
    from edge.catalogue.keys import public_key

    return [public_key(key) for key in args.key]


def catalogue_of(place: str | None, args: argparse.Namespace) -> "Read":
    """Read a catalogue, this project's where none is named."""
    from edge.bundled_files import bundled
    from edge.catalogue.listing import CATALOGUE, read_catalogue

    place = place or str(bundled(f"models/{CATALOGUE}"))
    return read_catalogue(place, keys=keys_of(args), access=access_of(args))


def card_place(args: argparse.Namespace, access: "Access") -> tuple[str, str | None]:
    """Return where the card of `args.model` is, and its digest where a catalogue says that."""
    from edge.catalogue.listing import card_file
    from edge.catalogue.urls import as_url

    if not NAME.fullmatch(args.model):
        return as_url(card_file(args.model)), None
    read = catalogue_of(args.catalogue, args)
    return read.card_url(args.model, access), read.catalogue.models[args.model].sha256


def local_folder(told: str) -> Path:
    """Return the folder of a model that is here: by its path, or by its name.

    A name is looked for in `models/`, then among this project's models. Raises ConfigError.
    """
    from edge.catalogue.card import CARD

    path = Path(told)
    if not NAME.fullmatch(told) or (path / CARD).is_file():
        return path.parent if path.name == CARD else path
    for folder in (HERE, bundled_models()):
        if (folder / told / CARD).is_file():
            return folder / told
    raise ConfigError(
        f"{told}: there is no such model in {HERE}/, nor among this project's: "
        f"`edge models pull {told}` fetches one that a catalogue lists"
    )


def bundled_models() -> Path:
    """Return the folder of this project's models."""
    from edge.bundled_files import bundled
    from edge.catalogue.listing import CATALOGUE

    return bundled(f"models/{CATALOGUE}").parent


def add_password(parser: argparse.ArgumentParser) -> None:
    """Add the option for a password that nobody can type."""
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="its first line is the secret key's password (default: asked for)",
    )


def password_from(file: Path | None, ask: "Callable[[], str]") -> str:
    """Return the password, from its file or from who sits at the terminal. Raises ConfigError."""
    import sys

    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(f"--password-file: {file}: cannot be read: {reason}") from error
        if not lines or not lines[0]:
            raise ConfigError(f"--password-file: {file}: its first line is empty")
        return lines[0]
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask for a password at: give --password-file")
    return ask()
