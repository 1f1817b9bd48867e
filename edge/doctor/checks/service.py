"""The systemd service: installed, started at boot, alive; what it said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.aside import output_of
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.state import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "StatusText",
    "NRestarts",
    "StateChangeTimestamp",
    "WatchdogUSec",
    "FragmentPath",
    "NeedDaemonReload",
)
INSTALL = "sudo edge service install CONFIG"
WHY = {  # systemd.exec(5), systemctl's Result=
    "watchdog": "it did not answer the watchdog",
    "exit-code": "it ended with an error",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "oom-kill": "the kernel killed it for want of memory",
    "timeout": "it was not ready in time",
    "start-limit-hit": "it was started too often",
}


class Service(Check):
    """Whether the daemon starts at boot and runs now."""

    name = "service"
    group = "service"
    limit_s = 25.0

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Ask systemd about our units."""
        if not (patient.root / "run/systemd/system").is_dir():
            yield ok("service", "systemd does not run here", units=[])
            return
        found = [known for unit in _units() if (known := _properties(unit))]
        found = [known for known in found if known.get("LoadState") != "not-found"]
        if not found:
            says = "is not installed: the daemon does not start at boot"
            yield warning("service", says, INSTALL, units=[])
        for known in found:
            yield judge(known, last_message=_last_message(known["Id"]))


def _units() -> list[str]:
    """Return the unit, and the instances of its template that systemd knows."""
    command = ("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{NAME}@*")
    listed = output_of(*command) or ""
    return [f"{NAME}.service", *(line.split()[0] for line in listed.splitlines() if line.strip())]


def _properties(unit: str) -> dict[str, str]:
    told = output_of("systemctl", "show", unit, f"--property={','.join(PROPERTIES)}") or ""
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def _last_message(unit: str) -> str:
    """Return the last line of the daemon's own; empty where the journal is not ours to read."""
    told = output_of("journalctl", f"_SYSTEMD_UNIT={unit}", "-n", "1", "-o", "cat", "--no-pager")
    return " ".join((told or "").split())


def judge(known: dict[str, str], *, last_message: str) -> Finding:
    """Return the finding on a unit, by what `systemctl show` says of it."""
    unit = known["Id"]
    state, since = known.get("ActiveState", ""), known.get("StateChangeTimestamp", "")
    enabled = known.get("UnitFileState", "") in {"enabled", "enabled-runtime"}
    facts = {
        "unit": unit,
        "file": known.get("FragmentPath", ""),
        "state": state,
        "since": since,
        "enabled": enabled,
        "result": known.get("Result", ""),
        "restarts": int(known.get("NRestarts", "0") or 0),
        "status": known.get("StatusText", ""),
        "last_message": last_message,
    }
    says = f"{unit} is {state}" + (f" since {since}" if since else "")
    if state == "failed" or known.get("SubState") == "auto-restart":
        why = WHY.get(known.get("Result", ""), known.get("Result", ""))
        says += f": {why}" + (f"; it said: {last_message}" if last_message else "")
        return problem("service", says, f"sudo journalctl -u {unit} -n 50", **facts)
    if state not in {"active", "reloading", "activating"}:
        return warning("service", says, f"sudo systemctl enable --now {unit}", **facts)
    if known.get("StatusText"):
        says += f": {known['StatusText']}"
    if not enabled:
        says += "; it does not start at boot"
        return warning("service", says, f"sudo systemctl enable {unit}", **facts)
    if known.get("NeedDaemonReload") == "yes":
        says += "; its unit was changed since systemd read it"
        return warning("service", says, "sudo systemctl daemon-reload", **facts)
    if known.get("WatchdogUSec") in {"0", "infinity"}:
        says += "; no watchdog minds it"
        return warning("service", says, INSTALL, **facts)
    if facts["restarts"]:
        says += f"; it was restarted {facts['restarts']} times"
        return warning("service", says, f"sudo journalctl -u {unit} -p warning -n 50", **facts)
    return ok("service", says, **facts)
