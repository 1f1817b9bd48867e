"""Where models that came over the air lie, and what is remembered of them: nothing half-written.

In `updates-DEVICE` of the state directory: `state.json`, what is remembered of each pipeline;
`models/DIGEST/`, a model's folder, by the digest of its card; `incoming/`, those being fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.catalogue.card import CARD, check_files, parse_card, read_card_bytes
from edge.errors import CardError
from edge.state import file_name, state_directory, sync_folder, write_durably
from edge.supervisor.kept import read_kept
from edge.supervisor.updates.records import Remembered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge.supervisor.updates.records import Release, Update


class Store:
    """The folder of one device. Without a state directory nothing is kept, and none is updated."""

    def __init__(
        self, device: str, environ: Mapping[str, str] = os.environ, *, aside: bool = True
    ) -> None:
        """Read what is remembered, where there is anything.

        A damaged file is set aside, and what dead writers left is removed, unless told otherwise.
        """
        self._tidying = threading.Lock()
        state = state_directory(environ)
        self.folder: Path | None = state and state.absolute() / f"updates-{file_name(device)}"
        self.trouble = ""
        """What was wrong with the file, and where it is now; empty when all is well."""
        self.updates: dict[str, Update] = {}
        if self.folder is not None:
            found, self.trouble = read_kept(self.folder / "state.json", Remembered, aside=aside)
            self.updates = dict(found.pipelines) if found is not None else {}
        if self.folder is not None and aside:
            for each in _entries(self.folder):
                if each.name.startswith("tmp"):  # half a state, of a write that was cut off
                    with suppress(OSError):
                        each.unlink()

    def rename(self, device: str) -> str:
        """Keep it all under another name of the device; return why not, where it cannot be."""
        if self.folder is None:
            return ""
        named = self.folder.with_name(f"updates-{file_name(device)}")
        try:
            if self.folder.exists():
                self.folder.rename(named)  # fails where there is one with anything in it
        except OSError as error:
            return f"{named}: {error.strerror}; after a restart its models are those of the YAML"
        self.folder = named
        return ""

    def write(self, updates: Mapping[str, Update]) -> None:
        """Remember this, to last a power cut, and nothing else. Raises OSError; then all is as was.

        It takes as long as the disk does.
        """
        content = Remembered(pipelines=dict(updates)).model_dump_json(indent=1).encode()
        write_durably(self._own() / "state.json", content)
        self.updates = dict(updates)

    def incoming(self, pipeline: str) -> Path:
        """Return the folder that a pipeline's new model is fetched to. Raises OSError."""
        folder = self._own() / "incoming"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / pipeline

    def fetched_bytes(self, pipeline: str) -> int:
        """Return how much has come of a pipeline's new model."""
        if self.folder is None:
            return 0
        part = self.folder / "incoming" / f".{pipeline}.fetching"
        found = 0
        for path in _entries(part):
            with suppress(OSError):
                found += path.stat().st_size
        return found

    def adopt(self, fetched: Path, digest: str) -> None:
        """Move a whole folder to where it stays, to last a power cut. Raises OSError."""
        with self._tidying:
            place = self.place(digest)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if place.exists():  # the same bytes by their digest, unless the disk has damaged them
                shutil.rmtree(place)
            fetched.rename(place)
            sync_folder(place.parent)

    def place(self, digest: str) -> Path:
        """Return where the model of this digest lies, if it is here."""
        return self._own() / "models" / digest

    def damage(self, release: Release) -> str:
        """Say what is not as it came of a model; nothing where all is. It reads all of it."""
        try:
            place = self.place(release.digest)
            content = read_card_bytes(place)
            if hashlib.sha256(content).hexdigest() != release.digest:
                return f"{place / CARD}: is not what it was when it came"
            check_files(parse_card(content, str(place / CARD)), place)
        except CardError as error:
            return str(error).splitlines()[0]
        except OSError as error:
            return str(error)
        return ""

    def sweep(self) -> list[Path]:
        """Remove what nothing remembered needs; return it. It takes as long as the disk does."""
        if self.folder is None:
            return []
        with self._tidying:
            found = self._not_needed(self.folder)
            for each in found:
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    with suppress(OSError):
                        each.unlink()
        return found

    def _not_needed(self, folder: Path) -> list[Path]:
        updates = list(self.updates.items())
        needed = {each.digest for _, update in updates for each in update.releases}
        fetching = {name for name, update in updates if update.phase == "fetching"}
        found = []
        if not fetching:  # else one may just have been adopted that no record names yet
            found = [each for each in _entries(folder / "models") if each.name not in needed]
        found += [
            each
            for each in _entries(folder / "incoming")
            if each.name.removeprefix(".").removesuffix(".fetching") not in fetching
        ]
        return found

    def _own(self) -> Path:
        if self.folder is None:
            raise OSError(0, "there is no state directory: set STATE_DIRECTORY or HOME")
        return self.folder


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
