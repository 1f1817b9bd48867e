"""What installing a service means here: the files it needs, and what has to be done afterwards."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edge
from edge.bundled_files import bundled
from edge.config.load import load, read_document
from edge.errors import ServiceError
from edge.service.carry import HIDDEN, carry
from edge.service.files import Link, Wanted
from edge.service.needs import drop_in
from edge.service.place import (
    ENVIRONMENT,
    LOCAL_RULES,
    PACKAGED_RULES,
    PACKAGED_UNITS,
    PROGRAM,
    RULES,
    UNITS,
    Place,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.service.carry import Carried
    from edge.service.files import Role

SYSTEMD_RUNS = Path("/run/systemd/system")
NOT_BOOTED = "systemd does not run here: `edge run CONFIG` needs none"


@dataclass(frozen=True)
class Plan:
    """The files of a service as they are to be."""

    place: Place
    files: list[Wanted | Link]
    notes: list[str]

    def missing(self) -> list[Wanted | Link]:
        """Return those that are not as they are to be."""
        return [file for file in self.files if not file.is_there()]


def plan(config: Path, place: Place, environ: Mapping[str, str]) -> Plan:
    """Return what installing a YAML means. Raises ConfigError and ServiceError."""
    device, document = load(config, environ), read_document(config, environ)
    carried = carry(config, document, place)
    settings = drop_in(device, carried, place, program=program(place), groups=_groups(place))
    return Plan(place, [*_data(carried, place), *_units(place, settings)], carried.notes)


def service_environment(place: Place, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that the service will have, and none of ours."""
    found = {name: environ[name] for name in ("PATH", "LANG") if name in environ}
    with_values = place.on_disk(ENVIRONMENT)
    if with_values.is_file():
        for line in with_values.read_text(encoding="utf-8").splitlines():
            name, is_one, value = line.strip().partition("=")
            if is_one and not name.startswith(("#", ";")):
                found[name] = _unquoted(value)
    folders = {"CREDENTIALS_DIRECTORY": place.credentials, "STATE_DIRECTORY": place.state}
    return found | {name: str(place.on_disk(folder)) for name, folder in folders.items()}


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def program(place: Place) -> str:
    """Return the command that the service runs: this one, or that of another root.

    Raises ServiceError where the service would not see it.
    """
    if place.root != Path("/"):
        return PROGRAM
    command = Path(sysconfig.get_path("scripts"), "edge")
    for part in (command, Path(edge.__file__), Path(os.path.realpath(sys.executable))):
        hidden = next((folder for folder in HIDDEN if part.is_relative_to(folder)), None)
        if hidden:
            raise ServiceError(
                f"this installation, or its Python, lies in {hidden} ({part}), which is hidden "
                "from the service. Install it in /opt with the system's own Python: "
                "`sudo python3 -m venv /opt/edge-runtime` and `sudo /opt/edge-runtime/bin/pip "
                f"install ...`; then `sudo {PROGRAM} service install ...`"
            )
    return str(command)


def obstacles(place: Place) -> Iterator[str]:
    """Say what stands in the way of changing anything here."""
    if place.root != Path("/"):
        return
    if os.geteuid() != 0:
        yield f"only root may do this: `sudo {sys.argv[0]} {' '.join(sys.argv[1:])}`"
    if not is_booted():
        yield NOT_BOOTED


def is_booted() -> bool:
    """Whether systemd runs this system (sd_booted(3))."""
    return SYSTEMD_RUNS.is_dir()


def _data(carried: Carried, place: Place) -> Iterator[Wanted]:
    state = place.on_disk(place.state)
    for target, source in carried.models.items():
        yield Wanted(place.on_disk(target), source, "data", owned_like=state)
    for target, source in carried.public.items():
        yield Wanted(place.on_disk(target), source, "data")
    for target, source in carried.secrets.items():
        yield Wanted(place.on_disk(target), source, "data", mode=0o600)
    yield Wanted(place.on_disk(place.config), carried.text.encode(), "configuration")


def _units(place: Place, settings: str) -> Iterator[Wanted | Link]:
    folder = PACKAGED_UNITS if place.packaged else UNITS
    if not place.packaged:
        unit = bundled(f"systemd/{place.unit_file}").read_bytes()
        yield Wanted(place.on_disk(f"{UNITS}/{place.unit_file}"), unit, "unit")
    yield Wanted(place.on_disk(place.drop_in), settings.encode(), "unit")
    yield Link(place.on_disk(place.enabled), f"{folder}/{place.unit_file}")
    if not place.on_disk(PACKAGED_RULES).is_file():
        rules = bundled(f"systemd/{RULES}").read_bytes()
        yield Wanted(place.on_disk(LOCAL_RULES), rules, "rules")


def _groups(place: Place) -> list[str]:
    """Return the groups that the system knows."""
    try:
        lines = place.on_disk("/etc/group").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(":")[0] for line in lines]


def roles(files: list[Wanted | Link]) -> set[Role]:
    """Return what kinds of files these are."""
    return {file.role for file in files}
