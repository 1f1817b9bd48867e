"""Which broker a command speaks to, and who it is there: options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge.mqtt.access import Access

TLS_FILES = {
    "ca_file": "certificates of the CAs that the broker's must come from",
    "certificate_file": "our own certificate, where the broker demands one",
    "key_file": "its key, where it is not in the same file",
    "key_password_file": "file that holds the key's password",
}
FIELDS = "|".join(["broker", "username", "password", "password_file", "key_password", *TLS_FILES])
FIELD = re.compile(rf"`(?:mqtt\.)?(?:tls\.)?({FIELDS})`|\bmqtt\.(?:tls\.)?({FIELDS})\b")


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add `--broker` and what goes with it."""
    parser.add_argument(
        "--broker",
        default="mqtt://127.0.0.1:1883",
        metavar="URL",
        help="`mqtt://HOST[:PORT]`, or `mqtts://HOST[:PORT]` with TLS (default: %(default)s)",
    )
    parser.add_argument("--username", metavar="NAME", help="user name at the broker")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file that holds the password"
    )
    for name, what in TLS_FILES.items():
        parser.add_argument(_option(name), type=Path, metavar="FILE", help=f"with TLS: {what}")


def access_from(args: argparse.Namespace) -> Access:
    """Return the broker that was named. Raises ConfigError."""
    from pydantic import ValidationError

    from edge.config.load import broker_access
    from edge.config.mqtt import Mqtt, Tls
    from edge.errors import ConfigError

    files = {name: getattr(args, name) for name in TLS_FILES}
    if any(files.values()) and not args.broker.startswith("mqtts:"):
        given = next(_option(name) for name, file in files.items() if file)
        raise ConfigError(f"{given} needs a --broker that begins with mqtts://")
    try:
        tls = Tls(**files) if any(files.values()) else None
        mqtt = Mqtt(
            broker=args.broker, username=args.username, password_file=args.password_file, tls=tls
        )
        return broker_access(mqtt)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        option = "".join(f"{_option(str(name))}: " for name in found["loc"][:1])
        reason = str(found["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{option}{in_options(reason)}") from None
    except ConfigError as error:
        raise ConfigError(in_options(str(error))) from None


def in_options(text: str) -> str:
    """Return a sentence about fields of the YAML as one about options of the command line."""
    return FIELD.sub(lambda match: _option(match[1] or match[2]), text)


def _option(field: str) -> str:
    """Return the option that stands for a field; a secret itself is never an option."""
    name = f"{field}_file" if field.endswith("password") else field
    return f"--{name.replace('_', '-')}"
