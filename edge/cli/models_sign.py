"""`edge models sign`: vouches for a model, or a catalogue, with a secret key."""

import argparse
import time
from pathlib import Path

from edge.cli.models_options import add_password, password_from
from edge.errors import ConfigError


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "sign",
        help="sign a model's folder or a catalogue",
        description="Signs card.yaml, whose digests vouch for the other files, once these are what "
        "it says; or a catalogue. The signature, in minisign's format, lies beside it.",
    )
    parser.add_argument(
        "path", type=Path, metavar="FOLDER", help="a model's folder, or a catalogue.yaml"
    )
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="SECRET",
        help="the secret key's file, of `edge models keygen` or of minisign",
    )
    add_password(parser)
    parser.add_argument(
        "--comment", help="what is signed beside it (default: time and file, as minisign has it)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sign, and say by whom."""
    from getpass import getpass

    from edge.catalogue.card import CARD, check_files, parse_card, read_card_bytes
    from edge.catalogue.secret_key import read_secret_key
    from edge.catalogue.signature import sign
    from edge.state import write_durably

    path: Path = args.path / CARD if args.path.is_dir() else args.path
    content = read_card_bytes(path.parent, path.name)
    if path.name == CARD:
        check_files(parse_card(content, str(path)), path.parent)
    comment = args.comment or f"timestamp:{time.time():.0f}\tfile:{path.name}\thashed"
    if not comment.replace("\t", " ").isprintable():
        raise ConfigError("--comment must be one line of printable text")
    key = read_secret_key(
        args.key, lambda: password_from(args.password_file, lambda: getpass("password: "))
    )
    signature = path.with_name(f"{path.name}.minisig")
    write_durably(signature, sign(content, key, comment=comment).encode(), mode=0o644)
    print(f"{signature}: signed by {key.public.id}")
    return 0
