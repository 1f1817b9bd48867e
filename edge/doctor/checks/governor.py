"""How the kernel sets the clock of the cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, warning
from edge.doctor.patient import number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.patient import Patient

CPUFREQ = "/sys/devices/system/cpu/cpu*/cpufreq"
PERFORMANCE = f"echo performance | sudo tee {CPUFREQ}/scaling_governor"


class Governor(Check):
    """Whether the cores may run as fast as they can."""

    name = "governor"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read cpufreq of every core (Linux, admin-guide/pm/cpufreq)."""
        folders = sorted(patient.sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq"))
        named = sorted({text for each in folders if (text := text_of(each / "scaling_governor"))})
        if not named:
            yield ok("clock rate", "this kernel does not set it", governors=[])
            return
        limits = [number_of(each / "scaling_max_freq") or 0 for each in folders]
        most = [number_of(each / "cpuinfo_max_freq") or 0 for each in folders]
        facts = {"governors": named, "limit_mhz": [each // 1000 for each in limits]}
        says = f"governor {', '.join(named)}, up to {max(limits) // 1000} MHz"
        if "powersave" in named and not _is_intel(folders[0]):
            says += ": powersave keeps the cores at their slowest"
            yield warning("clock rate", says, PERFORMANCE, **facts)
        elif max(limits) < max(most):
            says += f", though the processor can do {max(most) // 1000}"
            cure = f"echo {max(most)} | sudo tee {CPUFREQ}/scaling_max_freq"
            yield warning("clock rate", says, cure, **facts)
        else:
            yield ok("clock rate", says, **facts)


def _is_intel(folder: Path) -> bool:
    """Whether `powersave` is that of intel_pstate, which does raise the clock."""
    return text_of(folder / "scaling_driver").startswith(("intel_pstate", "amd-pstate"))
