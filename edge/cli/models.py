"""`edge models`: models as folders with a card, listed, fetched, checked, signed."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

ACTIONS = ("list", "show", "pull", "verify", "sign", "keygen", "index", "deploy")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and its actions."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch, check and sign models",
        description="A model is a folder: card.yaml and the files that it names, each with its "
        "digest. A catalogue lists such folders, and a signature over the card vouches for all.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name in ACTIONS:
        importlib.import_module(f"edge.cli.models_{name}").add(actions)
