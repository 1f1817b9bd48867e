"""What the doctor found, as one object for programs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.doctor.examination import Examined

FORMAT, VERSION = "edge-doctor", 1


def document(examined: Iterable[Examined]) -> dict[str, Any]:
    """Return the object that `edge doctor --json` prints."""
    examined = list(examined)
    levels = [finding.level for each in examined for finding in each.findings]
    return {
        "format": FORMAT,
        "version": VERSION,
        "edge": __version__,
        "at": clock.utc(),
        "ok": levels.count("ok"),
        "warnings": levels.count("warning"),
        "problems": levels.count("problem"),
        "findings": [
            {"check": each.check.name, "group": each.check.group} | dataclasses.asdict(finding)
            for each in examined
            for finding in each.findings
        ],
    }
