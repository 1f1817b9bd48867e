"""`edge models show`: a model's card."""

import argparse
import json

from edge.cli.models_options import (
    access_of,
    add_catalogue,
    add_network,
    add_trust,
    card_place,
    keys_of,
)


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "show",
        help="a model's card",
        description="Prints the card of a model: what it is for, its files, how it was made, what "
        "was measured, where it fails.",
    )
    parser.add_argument("model", metavar="MODEL", help="a name of the catalogue, a folder or URL")
    add_catalogue(parser)
    add_trust(parser)
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it as YAML."""
    import yaml

    from edge.catalogue.card import MAX_CARD_BYTES
    from edge.catalogue.plain_yaml import read_plain_yaml
    from edge.catalogue.take import ask_for_card

    access = access_of(args)
    url, sha256 = card_place(args, access)
    told = ask_for_card(url, keys=keys_of(args), sha256=sha256, access=access)
    card = read_plain_yaml(told.content, name=url, max_bytes=MAX_CARD_BYTES)
    if args.json:
        print(json.dumps(card, indent=2, ensure_ascii=False))
        return 0
    print(f"# {url}")
    if told.verified:
        print(f"# signed by {told.verified.key_id}")
    print(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=96), end="")
    return 0
