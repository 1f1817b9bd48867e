"""Other processes that want the cores all the time."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

BURN = """
import os, sys
if sys.argv[1:]:
    os.sched_setaffinity(0, map(int, sys.argv[1:]))
parent = os.getppid()
while os.getppid() == parent:  # or it would burn on when whoever started it was killed
    for _ in range(1_000_000):
        pass
"""


class Burners:
    """So many of them, on these cores or on all.

    Each is a session of its own, as a service is: the kernel shares the cores fairly among
    sessions first (sched(7), autogroup).
    """

    def __init__(self, count: int, cores: Iterable[int] = ()) -> None:
        self._count = count
        self._cores = [str(core) for core in cores]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes = [
            subprocess.Popen([sys.executable, "-c", BURN, *self._cores], start_new_session=True)
            for _ in range(self._count)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def cores() -> int:
    """Return how many cores we may use."""
    return len(os.sched_getaffinity(0))
