"""A wall clock that can be set, for the processes of a test alone."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class ShiftedClock:
    """What a process that is started with `environ` takes for the wall clock."""

    def __init__(self, compiler: str, folder: Path) -> None:
        """Compile what stands before the C library."""
        library = folder / "shifted_clock.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"],
            check=True,
        )
        self._shift = folder / "shift"
        self._shift.write_bytes(struct.pack("q", 0))
        self.library = library
        self.environ = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._shift)}

    def shift(self, seconds: float) -> None:
        """Make it wrong by so much, now and for processes yet to come."""
        with self._shift.open("r+b") as file:  # in place: it is mapped
            file.write(struct.pack("q", round(seconds * 1e9)))
