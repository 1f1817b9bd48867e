"""The wall clock: whether it is set, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, warning
from edge.doctor.patient import text_of
from edge.supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

# The first 15 letters of a program's name, as proc(5) has them.
SETTERS = {
    "systemd-timesyn": "systemd-timesyncd",
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "ntpsec": "ntpsec",
    "openntpd": "openntpd",
    "ptp4l": "ptp4l",
}
SET_IT = "sudo apt install systemd-timesyncd && sudo timedatectl set-ntp true"


class Clock(Check):
    """Whether times in payloads, and the dates of certificates, can be trusted."""

    name = "clock"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Ask the kernel, and look who sets the time."""
        running = {text_of(path) for path in patient.proc.glob("[0-9]*/comm")}
        setters = [name for comm, name in SETTERS.items() if comm in running]
        chip = any(patient.sys.glob("class/rtc/rtc*"))
        yield judge(synced=clock.synced(), setters=setters, chip=chip)


def judge(*, synced: bool, setters: list[str], chip: bool) -> Finding:
    """Return the finding on a clock that these programs set; `chip`: it goes on without power."""
    facts = {"synced": synced, "set_by": setters, "clock_chip": chip, "utc": clock.utc()}
    by = f"by {', '.join(setters)}" if setters else "by nobody who runs here"
    if synced and (setters or chip):
        return ok("clock", f"set, {by}", **facts)
    if synced:
        says = f"set, {by}, as in a container or a virtual machine"
        return ok("clock", says, **facts)
    says = "is not set: the kernel holds it for unsynchronized; "
    says += f"{setters[0]} runs and has not reached its servers" if setters else "nobody sets it"
    if not chip:
        says += "; there is no clock chip, so after a power cut it is wrong until then"
    return warning("clock", says, "timedatectl timesync-status" if setters else SET_IT, **facts)
