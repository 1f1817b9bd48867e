"""Memory: how much there is, what is free, and whether the kernel had to kill for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, warning
from edge.doctor.patient import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

NEEDED_BYTES = 125_000_000  # PSS of a daemon and its worker: MobileNetV2 224, LiteRT, x86-64
FREE_IT = "stop what else runs, take a smaller model, or `sudo apt install zram-tools`"


class Memory(Check):
    """Whether a daemon fits into what is available."""

    name = "memory"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read meminfo and vmstat, of proc(5)."""
        known = _table(text_of(patient.proc / "meminfo"))
        total, available = known.get("MemTotal", 0) << 10, known.get("MemAvailable", 0) << 10
        swap, swap_free = known.get("SwapTotal", 0) << 10, known.get("SwapFree", 0) << 10
        killed = _table(text_of(patient.proc / "vmstat")).get("oom_kill", 0)
        kinds = _swaps(text_of(patient.proc / "swaps"))
        facts = {
            "total_bytes": total,
            "available_bytes": available,
            "swap_bytes": swap,
            "swap_used_bytes": swap - swap_free,
            "swap_on": kinds,
            "killed_since_boot": killed,
        }
        if not total:
            yield ok("memory", "this kernel does not tell", **facts)
            return
        says = f"{_mb(available)} of {_mb(total)} MB available, "
        says += f"{_mb(swap - swap_free)} of {_mb(swap)} MB swap in use" if swap else "no swap"
        says += f" ({', '.join(kinds)})" if kinds else ""
        if killed:
            says += (
                f"; the kernel has killed {killed} process{'es' if killed > 1 else ''} for memory"
            )
            yield warning("memory", says, "sudo journalctl -k -g 'Out of memory'", **facts)
        elif available < NEEDED_BYTES:
            says += f"; a daemon with one small model holds some {_mb(NEEDED_BYTES)} MB"
            yield warning("memory", says, FREE_IT, **facts)
        elif swap and swap_free < swap // 2:
            says += "; what has been swapped out comes back too late for a deadline"
            yield warning("memory", says, FREE_IT, **facts)
        else:
            yield ok("memory", says, **facts)


def _table(text: str) -> dict[str, int]:
    """Read lines of a name and a number: `MemTotal:  1000 kB`, `oom_kill 0`."""
    rows = (line.replace(":", " ").split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _swaps(text: str) -> list[str]:
    """Return where swap lies: `zram0`, `/var/swap`."""
    return [line.split()[0].removeprefix("/dev/") for line in text.splitlines()[1:]]


def _mb(size_bytes: int) -> str:
    return f"{size_bytes // 1_000_000:,}"
