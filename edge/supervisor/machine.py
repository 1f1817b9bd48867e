"""How the machine is that we run on: from proc and sysfs, read once a report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.health import CoreClock, Disk, Memory
from edge.supervisor.sensors import SYS, number, word

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")


def uptime_s(proc: Path = PROC) -> float | None:
    """Return how long the machine has been up (proc(5), uptime); None where it does not tell."""
    found = _numbers(proc / "uptime")
    return found[0] if found else None


def loads(proc: Path = PROC) -> tuple[float | None, float | None, float | None]:
    """Return the load averages over 1, 5 and 15 minutes (proc(5), loadavg), as far as told."""
    found: list[float | None] = [*_numbers(proc / "loadavg")[:3]]
    one, five, fifteen = [*found, None, None, None][:3]
    return one, five, fifteen


def memory(proc: Path = PROC) -> Memory | None:
    """Return what memory there is (proc(5), meminfo); None where the machine does not tell."""
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        told = (line.partition(":") for line in lines)
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in told}
        return Memory(
            total_bytes=1024 * kilobytes["MemTotal"],
            available_bytes=1024 * kilobytes["MemAvailable"],
            swap_total_bytes=1024 * kilobytes["SwapTotal"],
            swap_free_bytes=1024 * kilobytes["SwapFree"],
        )
    except (OSError, ValueError, IndexError, KeyError):
        return None


def disk(folder: Path | None) -> Disk | None:
    """Return how full the disk is on which a folder lies, or will."""
    while folder is not None and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder) if folder is not None else None
    except OSError:
        return None
    if found is None:
        return None
    return Disk(
        total_bytes=found.f_blocks * found.f_frsize, free_bytes=found.f_bavail * found.f_frsize
    )


def clocks(sys: Path = SYS) -> list[CoreClock]:
    """Return the clock of each policy of cpufreq; no one where there is none."""
    return list(_clocks(sys))


def _clocks(sys: Path) -> Iterator[CoreClock]:
    policies = sys.glob("devices/system/cpu/cpufreq/policy[0-9]*")
    for policy in sorted(policies, key=lambda path: int(path.name[len("policy") :])):
        cores = (word(policy / "related_cpus") or "").split()
        now, least, most = (
            khz // 1000 if (khz := number(policy / f"scaling_{name}_freq")) is not None else None
            for name in ("cur", "min", "max")
        )
        yield CoreClock(
            cores=[int(core) for core in cores if core.isdecimal()],
            mhz=now,
            min_mhz=least,
            max_mhz=most,
            governor=word(policy / "scaling_governor"),
        )


def _numbers(path: Path) -> list[float]:
    """Return the numbers that a file begins with."""
    found = []
    for each in (word(path) or "").split():
        try:
            found.append(float(each))
        except ValueError:
            break
    return found
