"""Which broker a command speaks to, and who it is there: options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge.mqtt.access import Access


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add `--broker` and what goes with it."""
    parser.add_argument(
        "--broker",
        default="mqtt://127.0.0.1:1883",
        metavar="URL",
        help="`mqtt://HOST[:PORT]` (default: %(default)s)",
    )
    parser.add_argument("--username", metavar="NAME", help="user name at the broker")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file that holds the password"
    )


def access_from(args: argparse.Namespace) -> Access:
    """Return the broker that was named. Raises ConfigError."""
    from pydantic import ValidationError

    from edge.config.load import broker_access
    from edge.config.mqtt import Mqtt
    from edge.errors import ConfigError

    try:
        mqtt = Mqtt(broker=args.broker, username=args.username, password_file=args.password_file)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        option = "".join(f"--{name} ".replace("_", "-") for name in found["loc"][:1])
        reason = str(found["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{option}{reason}") from None
    return broker_access(mqtt)
