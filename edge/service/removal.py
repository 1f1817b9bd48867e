"""Takes an installed service away again; what is its user's own stays, unless asked for."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edge.service.place import LOCAL_RULES, UNITS, installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.service.place import Place


def installed_files(place: Place) -> Iterator[Path]:
    """Return what `edge service install` made and nobody else needs, as far as it is there."""
    others = [each for each in installed(place.root) if each != place]
    candidates = [place.enabled, place.drop_in]
    if all(other.unit_file != place.unit_file for other in others):
        candidates.append(f"{UNITS}/{place.unit_file}")
    if not others:
        candidates.append(LOCAL_RULES)
    yield from _those_there(place, candidates)


def kept_files(place: Place) -> Iterator[Path]:
    """Return what is the user's own: the YAML, its secrets, models and results."""
    private = "/var/lib/private/" + place.state.rpartition("/")[2]
    candidates = [place.config, place.credentials, place.state, private, place.runtime]
    yield from _those_there(place, candidates)


def _those_there(place: Place, candidates: list[str]) -> Iterator[Path]:
    for path in map(place.on_disk, candidates):
        if path.exists() or path.is_symlink():
            yield path


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, and the folder of a drop-in that is empty then."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if path.parent.name.endswith(".service.d") and not any(path.parent.iterdir()):
        path.parent.rmdir()
