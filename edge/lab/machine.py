"""The machine that was measured, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edge.engines.cpu import this_cpu

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


class Machine(BaseModel):
    """What a latency belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    """The board's name where it has one, and the processor's."""
    machine: str
    cores: int
    """Those this process may use."""
    kernel: str
    python: str
    governor: str | None
    """How the kernel sets the clock of the first core; None where it cannot."""

    def __str__(self) -> str:
        governor = f", governor {self.governor}" if self.governor else ""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return (
            f"{self.cpu}, {cores}, {self.machine}, Linux {self.kernel}{governor}, "
            f"Python {self.python}"
        )


def this_machine() -> Machine:
    """Return the facts of the machine this runs on."""
    return Machine(
        cpu=this_cpu().model,
        machine=platform.machine(),
        cores=usable_cores(),
        kernel=platform.release(),
        python=platform.python_version(),
        governor=_read(GOVERNOR) or None,
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def busy_s() -> float:
    """Return for how many seconds the cores this process may use were at work, in all.

    By proc(5), `stat`: all that was neither idle, nor waiting for a disk, nor another guest's.
    """
    usable = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *spent = line.split()
        if name in usable:
            user, nice, system, _idle, _disk, irq, soft_irq = map(int, spent[:7])
            ticks += user + nice + system + irq + soft_irq
    return ticks / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \0\n")
    except OSError:
        return ""
