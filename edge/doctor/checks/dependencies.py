"""The Python packages that every machine needs: there, and new enough."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.packages import DISTRIBUTION, numbers, pip_install, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

OPENCV = "opencv-python-headless"  # as Debian packs it pip does not see it: it has its own check
AT_LEAST = re.compile(r"^([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?$")


class Dependencies(Check):
    """Whether pip, or the distribution, has installed what we ask for."""

    name = "dependencies"
    group = "software"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Compare versions with what our own package asks for."""
        del patient
        try:
            asked = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            says = f"{DISTRIBUTION} is not installed: this is a bare checkout"
            yield warning("packages", says, pip_install("--editable", "."))
            return
        found: dict[str, str | None] = {}
        wanting = []
        # What differs from machine to machine (it has a marker) is other checks' business.
        for each in filter(None, map(AT_LEAST.match, asked)):
            name, least = each[1], each[2]
            if name == OPENCV:
                continue
            found[name] = version_of(name)
            if found[name] is None or numbers(found[name] or "") < numbers(least or ""):
                wanting.append((name, least))
        if wanting:
            says = "; ".join(
                f"{name} {found[name] or 'is missing'}{f', {least} is needed' if least else ''}"
                for name, least in wanting
            )
            cure = pip_install(
                *(f"'{name}>={least}'" if least else name for name, least in wanting)
            )
            yield problem("packages", says, cure, versions=found)
        else:
            yield ok("packages", f"all {len(found)} are there and new enough", versions=found)
