"""`edge models pull`: fetches a model, whole or not at all."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.models_options import (
    HERE,
    NAME,
    access_of,
    add_catalogue,
    add_network,
    add_trust,
    card_place,
    keys_of,
)
from edge.errors import CardError

if TYPE_CHECKING:
    from edge.catalogue.take import Taken, Told


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "pull",
        help="fetch a model",
        description="Fetches a model into a folder of its name, whole or not at all: each file is "
        "checked by the digest in the card, the card by that in the catalogue or by a signature. "
        "What breaks off goes on where it was when it is called again.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a name of the catalogue, or a URL or path of a card"
    )
    add_catalogue(parser)
    parser.add_argument(
        "--into",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="the folder that gets the model's folder (default ./%(default)s)",
    )
    add_trust(parser)
    parser.add_argument("--sha256", metavar="DIGEST", help="what the card's digest must be")
    add_network(parser)
    parser.add_argument(
        "--max-mb", type=float, default=512, metavar="N", help="at most (default %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch it, and say what to write into a YAML."""
    from edge.catalogue.take import ask_for_card, take
    from edge.cli.progress import transfer

    access = access_of(args)
    url, sha256 = card_place(args, access)
    sha256 = args.sha256 or sha256
    told = ask_for_card(url, keys=keys_of(args), sha256=sha256, access=access)
    card = told.card
    if NAME.fullmatch(args.model) and card.name != args.model:
        raise CardError(
            f"{url}: is the card of {card.name}, which the catalogue calls {args.model}"
        )
    files = f"{len(card.files)} file{'s' * (len(card.files) > 1)}"
    print(f"{card.name} {card.version}: {files}, {card.size_bytes:,} bytes, {card.licence}")
    with transfer(card.name, card.size_bytes) as on_bytes:
        taken = take(
            url,
            told,
            args.into / card.name,
            max_bytes=int(args.max_mb * 1e6),
            access=access,
            on_bytes=on_bytes,
            waiting=_waiting,
        )
    print(f"{taken.folder}: {_whose(told, sha256, url)}")
    print(f"{taken.folder}: {_came(taken)}")
    print("in the YAML, in a pipeline:")
    print(_in_yaml(taken))
    return 0


def _waiting() -> None:
    print("edge models: another process is fetching it: waiting", file=sys.stderr)


def _whose(told: "Told", sha256: str | None, url: str) -> str:
    if told.verified:
        return f"signed by {told.verified.key_id}"
    vouched = "what its digest says" if sha256 else f"what {url} says, and nobody else"
    unchecked = "signed, which --key PUBLIC would check" if told.signature else "not signed"
    return f"{vouched}; {unchecked}"


def _came(taken: "Taken") -> str:
    if not taken.fetched_bytes:
        return "was there, whole"
    kept = taken.card.size_bytes - taken.fetched_bytes
    earlier = f", {kept:,} were here from an earlier try" if kept > 0 else ""
    return f"{taken.fetched_bytes:,} bytes fetched{earlier}"


def _in_yaml(taken: "Taken") -> str:
    import yaml

    options = taken.card.pipeline_options(taken.folder)
    text = yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=96)
    return "".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n")
