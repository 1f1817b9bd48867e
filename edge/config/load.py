"""Loads a device YAML: the whole way from a path to a `Device`, or to all that is wrong."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from edge.config.accelerators import accelerator_problems
from edge.config.device import Device
from edge.config.home_assistant import occupancy_problems
from edge.config.ladder import ladder_problems
from edge.config.mqtt import Mqtt, Tls, broker_place
from edge.config.problems import Document, Place, Problem, in_lines, model_problems, must_be
from edge.config.reference import (
    Alternative,
    alternatives,
    alternatives_of,
    is_model,
    origin,
    plugins,
)
from edge.config.secret_file import open_to_all, read_secret
from edge.config.tls import tls_access
from edge.config.yaml_file import MAX_BYTES, parse_yaml
from edge.errors import ConfigError
from edge.mqtt.access import Access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import SecretStr


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Device:
    """Read a device YAML. Raises ConfigError with one problem a line, all of them."""
    document = read_document(path, environ)
    device = None
    found = list(_too_generous(document))
    try:
        device = Device.model_validate(document.data, context={"folder": path.absolute().parent})
        found += _ladders(device, document)
        found += [
            Problem(document.line_of(place), place, text)
            for place, text in accelerator_problems(device.pipelines)
        ]
        found += _occupancy(device, document)
        found += _sinks(device, document)
    except ValidationError as error:
        told = {problem.place for problem in found}
        found += [p for p in model_problems(error, document) if p.place not in told]
    except RuntimeError:  # Path.expanduser
        found += _homeless(document)
    problems = document.problems + [p for p in found if not document.doubts(p.place)]
    if device is None or problems:
        raise ConfigError(in_lines(problems, str(path)))
    return device


def read_document(path: Path, environ: Mapping[str, str] = os.environ) -> Document:
    """Read the YAML alone, with the line of everything. Raises ConfigError."""
    return parse_yaml(_content(path, MAX_BYTES + 1), name=str(path), environ=environ)


def broker_access(mqtt: Mqtt, broker: str | None = None) -> Access:
    """Return where the broker is and who we are to it; `broker` overrules the YAML's.

    Raises ConfigError.
    """
    host, port, encrypted = broker_place(broker or mqtt.broker)
    password = read_password(mqtt)
    remarks = []
    if password is not None and not encrypted and not _here(host):
        remarks.append(f"the password goes to {host} in clear: `mqtts://` would encrypt it")
    if mqtt.password_file is not None and open_to_all(mqtt.password_file):
        remarks.append("mqtt.password_file: every user of this machine can read it: `chmod 600`")
    access = Access(host, port, mqtt.username, password, remarks=tuple(remarks))
    return tls_access(access, mqtt.tls or Tls()) if encrypted else access


def tell_access(mqtt: Mqtt, broker: str) -> str:
    """Return all that `broker_access` needs, for a process of ours; secrets stand in it in clear.

    `broker` overrules the YAML's.
    """
    found = mqtt.model_dump(mode="json", exclude={"password", "tls", "spool"})
    found |= {"broker": broker, "password": _shown(mqtt.password)}
    if mqtt.tls is not None and broker.startswith("mqtts:"):
        tls = mqtt.tls.model_dump(mode="json", exclude={"key_password"})
        found["tls"] = tls | {"key_password": _shown(mqtt.tls.key_password)}
    return json.dumps(found)


def access_told(told: str) -> Access:
    """Return the access that `tell_access` told of. Raises ConfigError."""
    return broker_access(Mqtt.model_validate_json(told))


def _shown(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def read_password(mqtt: Mqtt) -> str | None:
    """Return the broker's password, from where the YAML says. Raises ConfigError."""
    return read_secret(mqtt.password, mqtt.password_file, "mqtt.password_file")


def _here(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _content(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a directory, not a YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}") from None


def _too_generous(document: Document) -> Iterator[Problem]:
    """Find what pydantic takes for a number: true as 1, `nan`, infinity."""
    for place, value, choices in leaves((), document.data, [(Device, [])]):
        kinds = [kind for kind, _ in choices]
        if str in kinds or bool in kinds or not {int, float}.intersection(kinds):
            continue
        if isinstance(value, bool) or not _finite(value):
            yield Problem(document.line_of(place), place, must_be(place, document, choices))


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (ValueError, TypeError, OverflowError):
        return True  # no number at all, which the models tell


def _ladders(device: Device, document: Document) -> Iterator[Problem]:
    """Find rungs that give up nothing, or cannot."""
    for name, pipeline in device.pipelines.items():
        for where, text in ladder_problems(pipeline):
            place: Place = ("pipelines", name, *where)
            yield Problem(document.line_of(place), place, text)


def _occupancy(device: Device, document: Document) -> Iterator[Problem]:
    """Find occupancy sensors of nothing."""
    for where, text in occupancy_problems(device.home_assistant, device.pipelines):
        place: Place = ("home_assistant", *where)
        yield Problem(document.line_of(place), place, text)


def _sinks(device: Device, document: Document) -> Iterator[Problem]:
    """Find sinks that would write over one another."""
    taken: dict[str, int] = {}
    for index, sink in enumerate(device.sinks):
        first = taken.setdefault(sink.place, index)
        if first != index:
            text = f"goes to {sink.place}, where sinks[{first}] goes already"
            yield Problem(document.line_of(("sinks", index)), ("sinks", index), text)


def _homeless(document: Document) -> Iterator[Problem]:
    """Find the paths that begin with the home of nobody here."""
    for place, value, _ in leaves((), document.data, [(Device, [])]):
        if isinstance(value, str) and value[:1] == "~" == os.path.expanduser(value)[:1]:  # noqa: PTH111
            text = "begins with ~, the home of a user that is not known here"
            yield Problem(document.line_of(place), place, text)


def leaves(
    place: Place, value: Any, choices: list[Alternative]
) -> Iterator[tuple[Place, Any, list[Alternative]]]:
    """Every value at and below a place that is no container, with the types it may have."""
    if isinstance(value, list):
        items = [get_args(kind)[0] for kind, _ in choices if origin(kind) is list]
        for index, one in enumerate(value) if items else ():
            yield from leaves((*place, index), one, alternatives(items[0]))
    elif isinstance(value, dict):
        for key, one in value.items():
            if below := _below(key, value, choices):
                yield from leaves((*place, key), one, below)
    else:
        yield place, value, choices


def _below(key: str, parent: dict[str, Any], choices: list[Alternative]) -> list[Alternative]:
    """Return the types that a key of a mapping may have; none where it is not known."""
    named = plugins(choices)
    if len(named) > 1:
        chosen = parent.get("type")
        choices = [(named[chosen], [])] if isinstance(chosen, str) and chosen in named else []
    for kind, _ in choices:
        if is_model(kind) and key in kind.model_fields:
            return alternatives_of(kind.model_fields[key])
        if origin(kind) is dict:
            return alternatives(get_args(kind)[1])
    return []
