"""`edge models index`: writes a folder's catalogue."""

import argparse
from pathlib import Path


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "index",
        help="write the catalogue of a folder of models",
        description="Writes FOLDER/catalogue.yaml: the models in the folders below, each of which "
        "must be what its card says. Put FOLDER on a web server, and others can pull them.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write it where it is out of date."""
    from edge.catalogue.listing import CATALOGUE, index
    from edge.state import write_durably

    path = args.folder / CATALOGUE
    text = index(args.folder)
    if path.is_file() and path.read_bytes() == text.encode():
        print(f"{path}: is up to date")
        return 0
    write_durably(path, text.encode(), mode=0o644)
    print(f"{path}: was written anew")
    signature = path.with_name(f"{CATALOGUE}.minisig")
    if signature.exists():
        print(f"{signature}: is over the old one: sign it again")
    return 0
