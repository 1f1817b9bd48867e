"""Talks to systemd through its own commands."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Literal

from edge.errors import ServiceError

if TYPE_CHECKING:
    from edge.service.files import Role

SHOWN = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "StatusText", "Result"),
    *("MainPID", "NRestarts", "StateChangeTimestamp"),
)
LIMIT_S = 200  # the unit's own TimeoutStartSec=, and some


def systemctl(*words: str) -> str:
    """Run systemctl; return what it prints. Raises ServiceError with what it says instead."""
    try:
        done = subprocess.run(
            ["systemctl", *words],  # noqa: S607  wherever this system has it
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ServiceError(
            "there is no systemctl here: this system is not run by systemd"
        ) from None
    except subprocess.TimeoutExpired:
        raise ServiceError(f"`systemctl {' '.join(words)}` does not come to an end") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ServiceError(f"`systemctl {' '.join(words)}`: {said[0] if said else 'it failed'}")
    return done.stdout


def state(unit: str) -> dict[str, str]:
    """Return what systemd knows of a unit, by the names of its properties. Raises ServiceError."""
    printed = systemctl("show", unit, *(f"--property={name}" for name in SHOWN))
    return dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)


def due(unit: str, changed: set[Role]) -> Literal["start", "restart", "reload"] | None:
    """Return what has to be done with a unit for changes to be in force. Raises ServiceError."""
    if state(unit)["ActiveState"] not in {"active", "reloading"}:
        return "start"
    if {"unit", "data"} & changed:
        return "restart"
    return "reload" if "configuration" in changed else None


def bring_up(unit: str, changed: set[Role]) -> str | None:
    """Have a unit run with what has changed, and return what that took.

    Raises ServiceError where it does not start, with what it says of that.
    """
    if "rules" in changed:
        _reload_rules()
    if "unit" in changed:
        systemctl("daemon-reload")
    verb = due(unit, changed)
    if verb is None:
        return None
    try:
        # A unit that is about to be started again by systemd is not active, and has begun.
        systemctl("restart" if verb == "start" else verb, unit)
    except ServiceError as error:
        said = state(unit)["StatusText"]
        raise ServiceError(
            f"{unit} does not start: {said or error} (`journalctl -u {unit}`)"
        ) from None
    return verb


def take_down(unit: str) -> None:
    """Stop a unit, where there is one. Raises ServiceError."""
    if state(unit)["LoadState"] != "not-found":
        systemctl("stop", unit)


def _reload_rules() -> None:
    """Have udev apply its rules to what is plugged in; where there is no udev, nothing is."""
    for words in (
        ("control", "--reload"),
        ("trigger", *(f"--subsystem-match={name}" for name in ("usb", "apex", "misc"))),
    ):
        try:
            subprocess.run(
                ["udevadm", *words],  # noqa: S607
                capture_output=True,
                timeout=LIMIT_S,
                check=False,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return
