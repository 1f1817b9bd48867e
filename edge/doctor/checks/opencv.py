"""OpenCV: whether it can be imported, and whether it knows cameras and video."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge.doctor.aside import ask
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.packages import pip_install, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

LIMIT_S = 25.0
HEADLESS = "opencv-python-headless"
SAME_FILES = (
    HEADLESS,
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
CURES = (
    ("libGL", pip_install("--force-reinstall", HEADLESS)),
    ("numpy", pip_install("--force-reinstall", HEADLESS, "numpy")),
    ("ELF load command", "see the line on page size"),
)


class OpenCv(Check):
    """Whether pictures can be decoded."""

    name = "opencv"
    group = "software"
    limit_s = LIMIT_S + 5

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Import it in a process of its own."""
        del patient
        said = ask("edge.doctor.imported", limit_s=LIMIT_S)
        found = said.answers[0] if said.answers else {}
        trouble = found.get("failed") or said.trouble or ("" if found else "it said nothing")
        if trouble:
            cure = pip_install("--force-reinstall", HEADLESS)
            cure = next((what for part, what in CURES if part in trouble), cure)
            yield problem("OpenCV", f"cannot be loaded: {trouble}", cure)
            return
        able = [name for name in ("v4l2", "ffmpeg", "gstreamer") if name in found["able"]]
        says = f"{found['version']} with {', '.join(able) or 'neither cameras nor video'}"
        both = [f"{name} {each}" for name in SAME_FILES if (each := version_of(name))]
        if len(both) > 1:
            says += f"; {' and '.join(both)} overwrite one another's files"
            others = " ".join(each.split()[0] for each in both)
            cure = f"{sys.executable} -m pip uninstall -y {others} && {pip_install(HEADLESS)}"
            yield warning("OpenCV", says, cure, **found)
        elif "v4l2" not in able:
            says += ": no camera can be opened with it"
            yield warning("OpenCV", says, pip_install("--force-reinstall", HEADLESS), **found)
        else:
            yield ok("OpenCV", says, **found)
