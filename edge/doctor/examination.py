"""Runs all checks side by side: one that crashes or hangs is told and holds up none."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.doctor.finding import GROUPS, Check, Finding, problem
from edge.plugins import classes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.doctor.patient import Patient

CHECKS = "edge.doctor.checks"
REPORT = "report it, with the output of `edge doctor --json`"


@dataclass(frozen=True, slots=True)
class Examined:
    """A check that has ended, or that nobody waits for any more, and what it found."""

    check: Check
    findings: tuple[Finding, ...]


def all_checks() -> list[Check]:
    """Return one of each, in the order their findings are told."""
    found = [kind() for kind in classes_of(CHECKS, Check)]  # type: ignore[type-abstract]
    return sorted(found, key=lambda check: (GROUPS.index(check.group), check.name))


def examine(patient: Patient, checks: Iterable[Check]) -> Iterator[Examined]:
    """Yield each check when it has ended, in whatever order they do.

    A check that raises, or that takes longer than it may, is a problem of that check.
    """
    ended: queue.SimpleQueue[Examined] = queue.SimpleQueue()
    began = time.monotonic()
    waiting = {check.name: check for check in checks}
    for check in waiting.values():
        # Daemons: one that hangs does not keep the command from ending.
        threading.Thread(
            target=_run, args=(check, patient, ended), name=check.name, daemon=True
        ).start()
    while waiting:
        next_end = min(began + check.limit_s for check in waiting.values())
        try:
            examined = ended.get(timeout=max(0.0, next_end - time.monotonic()))
        except queue.Empty:
            late = [c for c in waiting.values() if began + c.limit_s <= time.monotonic()]
            for check in late:
                del waiting[check.name]
                yield Examined(check, (_hangs(check),))
            continue
        if waiting.pop(examined.check.name, None) is not None:
            yield examined


def _run(check: Check, patient: Patient, ended: queue.SimpleQueue[Examined]) -> None:
    found: list[Finding] = []
    try:
        found.extend(check.look(patient))
    except Exception as error:  # noqa: BLE001  whatever it is, the others' findings count
        told = " ".join(f"{type(error).__name__}: {error}".split())
        found.append(problem(check.name, f"this check failed itself: {told}", REPORT))
    ended.put(Examined(check, tuple(found)))


def _hangs(check: Check) -> Finding:
    says = f"this check did not end within {check.limit_s:g} s"
    return problem(check.name, says, "try again; if it stays, what it looks at hangs")
