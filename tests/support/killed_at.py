"""Ends a process with SIGKILL at the durable write that one names: `killed_at.c` says how."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class KilledAt:
    """The library, and what its victims are started with."""

    def __init__(self, library: Path) -> None:
        self.library = library

    @classmethod
    def compile(cls, compiler: str, folder: Path) -> KilledAt:
        """Compile it."""
        library = folder / "libkilledat.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(SOURCE)]
        subprocess.run([*command, "-ldl"], check=True)
        return cls(library)

    def environ(self, number: int, below: Path, log: Path) -> dict[str, str]:
        """Return what kills before the `number`-th write below a folder; 0 kills never."""
        return {
            "LD_PRELOAD": str(self.library),
            "KILL_BELOW": str(below),
            "KILL_AT": str(number),
            "KILL_LOG": str(log),
        }
