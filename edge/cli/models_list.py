"""`edge models list`: what a catalogue has."""

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.models_options import HERE, add_network, add_trust, catalogue_of

if TYPE_CHECKING:
    from edge.catalogue.listing import Entry


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "list",
        help="what a catalogue has",
        description="Lists the models of a catalogue: version, size, licence, and which are here.",
    )
    parser.add_argument(
        "catalogue",
        nargs="?",
        metavar="CATALOGUE",
        help="a path or URL of a catalogue.yaml (default: this project's models)",
    )
    add_trust(parser)
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it, a model in two lines."""
    read = catalogue_of(args.catalogue, args)
    models = read.catalogue.models
    if args.json:
        found = {
            "catalogue": read.url,
            "signed_by": read.verified.key_id if read.verified else None,
            "models": {
                name: entry.model_dump()
                | {"card": read.card_url(name), "here": here(HERE / name, entry)}
                for name, entry in models.items()
            },
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for name, entry in models.items():
        state = here(HERE / name, entry)
        print(f"{name} {entry.version}: {entry.size_bytes:,} bytes, {entry.licence}")
        print(textwrap.fill(entry.description, 96, initial_indent="  ", subsequent_indent="  "))
        if state != "no":
            print(f"  {'is' if state == 'yes' else 'another build is'} in {HERE / name}/")
    if args.key:
        signer = f"signed by {read.verified.key_id}" if read.verified else "not signed itself"
        print(f"the catalogue is {signer}")
    return 0


def here(folder: Path, entry: "Entry") -> str:
    """Say whether a model is here: `yes`, `no`, or `other` where its folder has another card."""
    from edge.catalogue.card import read_card_bytes, sha256_of
    from edge.errors import CardError

    try:
        return "yes" if sha256_of(read_card_bytes(folder)) == entry.sha256 else "other"
    except CardError:
        return "no"
