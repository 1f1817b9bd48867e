"""`edge models keygen`: a pair of keys, to sign models with."""

import argparse
from pathlib import Path

from edge.cli.models_options import add_password, password_from
from edge.errors import ConfigError


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "keygen",
        help="make keys to sign models with",
        description="Writes NAME.key, which signs and is kept secret, and NAME.pub, which goes to "
        "those that check; both in minisign's format.",
    )
    parser.add_argument("name", type=Path, metavar="NAME")
    add_password(parser)
    parser.add_argument(
        "--no-password", action="store_true", help="do not encrypt the secret key: as for machines"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write them, and say where they go."""
    from edge.catalogue.secret_key import SecretKey, write_key_pair

    if args.no_password and args.password_file:
        raise ConfigError("--no-password and --password-file contradict one another")
    password = "" if args.no_password else password_from(args.password_file, _new_password)
    key = SecretKey.new()
    secret, public = (args.name.with_name(f"{args.name.name}{end}") for end in (".key", ".pub"))
    write_key_pair(key, secret, public, password)
    print(f"{secret}: {'not ' * args.no_password}encrypted; it signs: keep it, and keep it secret")
    print(f"{public}: the key {key.public.id}, for those that check:")
    print(key.public.text)
    return 0


def _new_password() -> str:
    from getpass import getpass

    password = getpass("password for the secret key: ")
    if not password:
        raise ConfigError("the password is empty: --no-password makes a key without one")
    if getpass("once more: ") != password:
        raise ConfigError("that was another one: nothing was written")
    return password
