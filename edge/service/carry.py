"""Decides where the files that a YAML names go, and writes the YAML that names them there.

The service sees neither home folders nor /tmp, and runs as a user that is nobody else's.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.config.device import Device
from edge.config.load import leaves
from edge.config.problems import Problem, in_lines
from edge.config.updates import KEY_TEXT
from edge.config.yaml_file import parse_yaml
from edge.errors import ConfigError
from edge.service.place import CONFIGURATIONS
from edge.service.rewrite import with_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Document
    from edge.config.problems import Place as Spot
    from edge.service.place import Place

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  not written to
CREDENTIALS = "CREDENTIALS_DIRECTORY"
SECRETS = {"password_file": "password", "key_file": "key", "key_password_file": "key-password"}
"""Fields that name a secret's file, and what its credential is called."""
Kind = Literal["secret", "public", "model", "output", "input", "library"]


@dataclass
class Carried:
    """What installing a YAML takes along."""

    text: str = ""
    """The YAML with the new paths."""
    models: dict[str, Path] = field(default_factory=dict)
    """Where a file goes, and where it is now: models, labels, and what belongs to them."""
    public: dict[str, Path] = field(default_factory=dict)
    """The same, for certificates and public keys."""
    secrets: dict[str, Path] = field(default_factory=dict)
    """The same, for what root alone may read."""
    credentials: list[str] = field(default_factory=list)
    """The names of the secrets that the service is given."""
    writable: list[str] = field(default_factory=list)
    """Folders outside of its own that it writes to."""
    notes: list[str] = field(default_factory=list)


def carry(config: Path, document: Document, place: Place) -> Carried:
    """Find all files that a YAML names, and give each its place. Raises ConfigError."""
    folder = config.absolute().parent
    carried, values, problems = Carried(), {}, []
    for spot, value in _paths(document):
        kind = _kind(spot, document)
        if CREDENTIALS in document.variables.get(spot, ()):
            carried.credentials.append(Path(value).name)
            if not Path(value).is_file():
                text = f"there is no such credential: put it into {value}, mode 600"
                problems.append(Problem(document.line_of(spot), spot, text))
            continue
        path = Path(os.path.normpath(folder / Path(value).expanduser()))
        try:
            told = _place_of(kind, spot, path, place, carried)
        except ConfigError as error:
            problems.append(Problem(document.line_of(spot), spot, str(error)))
            continue
        if os.path.normpath(Path(CONFIGURATIONS) / value) != told:
            values[spot] = told
    if problems:
        raise ConfigError(in_lines(problems, str(config)))
    carried.credentials = sorted(set(carried.credentials))
    carried.writable = sorted(set(carried.writable))
    carried.text = _rewritten(config, values)
    return carried


def _rewritten(config: Path, values: dict[Spot, str]) -> str:
    """Return the YAML with other paths. Raises ConfigError where that cannot be done."""
    text = with_values(config.read_bytes().decode("utf-8-sig"), values)
    environ = defaultdict(str, {CREDENTIALS: f"${{{CREDENTIALS}}}"})
    document = parse_yaml(text.encode(), name=str(config), environ=environ)
    for spot, value in values.items():  # an alias may want two values in one place
        if document.at(spot) != value:
            line = document.line_of(spot)
            problem = Problem(line, spot, "is needed in two places: write it out, without an alias")
            raise ConfigError(in_lines([problem], str(config)))
    return text


def _paths(document: Document) -> Iterator[tuple[Spot, str]]:
    """Every path in a YAML, as it stands there."""
    found = {
        spot: value
        for spot, value, choices in leaves((), document.data, [(Device, [])])
        if isinstance(value, str) and any(kind is Path for kind, _ in choices)
    }
    for spot in document.lines:
        value = document.at(spot)
        if isinstance(value, str) and _is_path_by_its_look(spot, value):
            found.setdefault(spot, value)
    yield from found.items()


def _is_path_by_its_look(spot: Spot, value: str) -> bool:
    """Whether a text is a path that is not typed as one: it may be a URL, or the thing itself."""
    if spot[-2:] == ("accelerator", "library"):
        return "/" in value
    if spot[:2] == ("updates", "keys"):
        return not KEY_TEXT.fullmatch(value)
    film = spot[:1] == ("pipelines",) and spot[-1] == "path" and "://" not in value
    return film or spot[-2:] == ("model", "golden")


def _kind(spot: Spot, document: Document) -> Kind:
    if spot[-1] in SECRETS:
        return "secret"
    if spot[-1] == "certificate_file" and document.at((*spot[:-1], "key_file")) is None:
        return "secret"  # the key stands in it
    if spot[0] in {"mqtt", "updates"}:
        return "public"
    if spot[0] == "sinks":
        return "output"
    if spot[-1] == "library":
        return "library"
    return "model" if "model" in spot else "input"


def _place_of(kind: Kind, spot: Spot, path: Path, place: Place, carried: Carried) -> str:
    """Return the path that the installed YAML names. Raises ConfigError."""
    if kind == "secret":
        name = f"{spot[0]}-{SECRETS.get(str(spot[-1]), 'certificate')}"
        carried.secrets[f"{place.credentials}/{name}"] = path
        carried.credentials.append(name)
        return f"${{{CREDENTIALS}}}/{name}"
    if kind == "model":
        if path.is_relative_to(place.state):
            return str(path)
        return _taken_along(path, f"{place.state}/models", carried.models)
    if kind == "output":
        return _output(path, place, carried)
    why = _why_not_seen(path)
    if why and kind == "public":
        return _taken_along(path, CONFIGURATIONS, carried.public)
    if why:
        raise ConfigError(f"{path}: {why}")
    return str(path)


def _taken_along(path: Path, folder: str, taken: dict[str, Path]) -> str:
    """Return where a file or a folder goes: under its own name, unless another has that."""
    target, number = f"{folder}/{path.name}", 1
    while _source(taken, target) not in {None, path}:
        number += 1
        target = f"{folder}/{path.stem}-{number}{path.suffix}"
    if path.is_dir():
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            taken[f"{target}/{file.relative_to(path)}"] = file
    else:
        taken[target] = path
    return target


def _source(taken: dict[str, Path], target: str) -> Path | None:
    """Return what goes to a path already, be it a file or a folder."""
    for where, source in taken.items():
        if where == target:
            return source
        if where.startswith(f"{target}/"):
            return Path(str(source).removesuffix(where.removeprefix(target)))
    return None


def _output(path: Path, place: Place, carried: Carried) -> str:
    """Return where a sink writes: in the state directory what would lie beside the YAML."""
    hidden = _hidden(path)
    if hidden or path.is_relative_to(CONFIGURATIONS):
        carried.notes.append(f"{path.name} is written to {place.state}, not to {path.parent}")
        return f"{place.state}/{path.name}"
    if not path.is_relative_to(place.state):
        carried.writable.append(str(path.parent))
        carried.notes.append(
            f"{path.parent}: the service runs as a user of its own, which must be allowed to "
            "write there"
        )
    return str(path)


def _why_not_seen(path: Path) -> str:
    """Say why the service cannot read a file where it lies; empty where it can."""
    if hidden := _hidden(path):
        return (
            f"lies in {hidden}, which is hidden from the service: put it elsewhere, such as in /srv"
        )
    for each in (path, *path.parents):
        try:
            mode = each.stat().st_mode
        except OSError:
            continue  # a pattern, or nothing yet
        if not mode & (0o001 if each != path else 0o004):
            return f"only some users may read it: `sudo chmod a+rX {each}`"
    return ""


def _hidden(path: Path) -> str:
    """Return the folder of the path that the service does not see, empty where it sees it."""
    real = Path(os.path.realpath(path))
    return next((each for each in HIDDEN if any(p.is_relative_to(each) for p in (path, real))), "")
