"""What the daemon keeps in its state directory: results that wait, traces, damaged files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.patient import Patient


class State(Check):
    """Whether something lies there that somebody should know of."""

    name = "state"
    group = "service"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Count files and bytes, without opening any."""
        folder = patient.state_folder
        if folder is None:
            says = "this user has no home, and so no place for what waits for the broker"
            yield warning("state", says, "set STATE_DIRECTORY, or run it as a service")
            return
        try:
            if not folder.exists():
                yield ok("state", f"{folder}: nothing is kept yet", folder=str(folder))
                return
            files = [path for path in folder.resolve().rglob("*") if path.is_file()]
            sizes = {path: path.stat().st_size for path in files}
        except PermissionError:
            yield ok("state", f"{folder}: root alone may look into it", folder=str(folder))
            return
        yield judge(folder, sizes)


def judge(folder: Path, sizes: dict[Path, int]) -> Finding:
    """Return the finding on the files of a state directory, by their sizes in bytes."""
    aside = sorted(path for path in sizes if ".set-aside-" in path.name)
    spool = sum(size for path, size in sizes.items() if path.name.startswith("spool-"))
    total = sum(sizes.values())
    facts = {
        "folder": str(folder),
        "files": len(sizes),
        "bytes": total,
        "spool_bytes": spool,
        "set_aside": [path.name for path in aside],
    }
    says = f"{folder}: {len(sizes)} files, {total / 1e6:,.1f} MB"
    if aside:
        says += f"; {aside[0].name} was damaged and set aside"
        return warning(
            "state", says, f"rm '{folder}/'*.set-aside-*  (once nobody wants it)", **facts
        )
    return ok("state", says, **facts)
