"""numpy: which one, whether the engines can live with it, and whether it hides another."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.packages import numbers, pip_install, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.doctor.patient import Patient

BELOW_2 = pip_install("'numpy<2'")


class Numpy(Check):
    """Whether numpy is the one that tflite-runtime and the system's modules were built for."""

    name = "numpy"
    group = "software"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Find every numpy on the path."""
        del patient
        yield judge(numpys(sys.path), tflite_runtime=version_of("tflite-runtime"))


def numpys(path: list[str]) -> dict[str, str]:
    """Return the folders of the path with a numpy in them, the one that is imported first."""
    found = {}
    for folder in dict.fromkeys(map(str, path)):
        if not (Path(folder) / "numpy" / "__init__.py").is_file():
            continue
        for one in metadata.distributions(name="numpy", path=[folder]):
            found[folder] = one.version
            break
        else:
            found[folder] = "of unknown version"
    return found


def judge(found: Mapping[str, str], *, tflite_runtime: str | None) -> Finding:
    """Return the finding on these numpys, by folder, beside this tflite-runtime."""
    if not found:
        return problem("numpy", "is not installed", pip_install("numpy"))
    (folder, version), *hidden = found.items()
    says = f"{version} in {folder}"
    facts = {"version": version, "folder": folder, "hides": dict(hidden)}
    if tflite_runtime and numbers(version)[:1] >= (2,):
        says += f": tflite-runtime {tflite_runtime} was built for numpy 1 and cannot load it"
        return problem("numpy", says, BELOW_2, **facts)
    if not hidden:
        return ok("numpy", says, **facts)
    says += f", before {', '.join(f'{each} in {where}' for where, each in hidden)}"
    if any(numbers(each)[:1] != numbers(version)[:1] for _, each in hidden):
        says += ": modules that were built for the other (Debian's picamera2, OpenCV) may not load"
        pinned = f"'numpy=={hidden[0][1]}'"
        return warning("numpy", says, pip_install(pinned), **facts)
    return ok("numpy", says, **facts)
