"""The kernel's page size against what the installed libraries were linked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.doctor.elf import load_alignment
from edge.doctor.finding import Check, Finding, ok, problem
from edge.doctor.packages import shared_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from edge.doctor.patient import Patient

DISTRIBUTIONS = (
    "ai-edge-litert",
    "tflite-runtime",
    "numpy",
    "opencv-python-headless",
    "pydantic-core",
    "iotcore",
)
SMALLER = (
    "on a Raspberry Pi 5 write `kernel=kernel8.img` into /boot/firmware/config.txt and reboot: "
    "that kernel has 4 KB pages"
)


class PageSize(Check):
    """The Raspberry Pi 5's kernel has pages of 16 KB; a library for 4 KB cannot be mapped."""

    name = "page size"
    group = "software"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read the headers of all shared objects of the packages that have some."""
        del patient
        libraries = {name: shared_objects(name) for name in DISTRIBUTIONS}
        yield judge(libraries, page_bytes=os.sysconf("SC_PAGE_SIZE"))


def judge(libraries: Mapping[str, Iterable[Path]], *, page_bytes: int) -> Finding:
    """Return the finding on libraries by package, under a kernel with pages of this size."""
    count, too_small = 0, {}
    for name, paths in libraries.items():
        for path in paths:
            alignment = load_alignment(path)
            if alignment is None:
                continue
            count += 1
            if alignment < page_bytes:
                too_small[str(path)] = (name, alignment)
    kb = page_bytes >> 10
    facts = {
        "page_bytes": page_bytes,
        "libraries": count,
        "too_small": {path: alignment for path, (_, alignment) in too_small.items()},
    }
    if not too_small:
        return ok("page size", f"{kb} KB, and all {count} libraries can be mapped", **facts)
    names = ", ".join(sorted({name for name, _ in too_small.values()}))
    least = min(alignment for _, alignment in too_small.values()) >> 10
    says = f"{kb} KB: {names} cannot be loaded, their libraries are linked for {least} KB"
    return problem("page size", says, SMALLER, **facts)
