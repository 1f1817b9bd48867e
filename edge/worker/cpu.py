"""Takes the place among the device's processes that the configuration asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.cpu import Cpu


def take_place(wanted: Cpu) -> Iterator[str]:
    """Set affinity and scheduling of this process and of all threads it starts from now on.

    Yields a sentence for each wish that was not granted: the pipeline runs without it.
    """
    if wanted.affinity is not None:
        cores = ", ".join(map(str, wanted.affinity))
        try:
            os.sched_setaffinity(0, wanted.affinity)
        except OSError as error:
            yield f"`cpu.affinity: [{cores}]` was not granted: {_why(error, 'no such cores here')}"
    if wanted.scheduling == "fifo":
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(wanted.priority))
        except OSError as error:
            limit = f"LimitRTPRIO={wanted.priority} in the unit grants it"
            yield f"`cpu.scheduling: fifo` was not granted: {_why(error, limit)}"
    elif wanted.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, wanted.nice)
        except OSError as error:
            limit = f"LimitNICE={wanted.nice} in the unit grants it"
            yield f"`cpu.nice: {wanted.nice}` was not granted: {_why(error, limit)}"


def _why(error: OSError, hint: str) -> str:
    return f"{(error.strerror or str(error)).lower()}; {hint}"
