"""Who may open the device nodes: the groups they belong to."""

from __future__ import annotations

import getpass
import grp
import os
from typing import TYPE_CHECKING

from edge.doctor.accelerators import find_edge_tpus
from edge.doctor.finding import Check, Finding, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge.doctor.patient import Patient

NODES = ("video[0-9]*", "ttyUSB*", "ttyACM*", "ttyAMA*", "apex_*", "dma_heap/*", "vcio")
UDEV = "sudo edge service install CONFIG  (it writes the udev rules)"


class Permissions(Check):
    """Whether this user may open cameras, ports and accelerators."""

    name = "permissions"
    group = "devices"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Try the rights on each node that is there, without opening it."""
        nodes = [path for kind in NODES for path in sorted(patient.dev.glob(kind))]
        nodes += [each.node for each in find_edge_tpus(patient) if each.node is not None]
        nodes = [node for node in dict.fromkeys(nodes) if node.exists()]
        closed = [node for node in nodes if not patient.can_open(node)]
        user = _user()
        facts = {"user": user, "nodes": len(nodes), "closed": [str(node) for node in closed]}
        if not nodes:
            yield ok("permissions", "there is no device that needs any", **facts)
        elif not closed:
            yield ok("permissions", f"{user} may open all {len(nodes)} devices", **facts)
        for group, paths in by_group(closed).items():
            shown = ", ".join(str(path) for path in paths[:3]) + (", ..." if paths[3:] else "")
            says = f"{user} may not open {shown}"
            if group == "root":
                yield warning("permissions", f"{says}: root's alone", UDEV, **facts)
            else:
                cure = f"sudo usermod -aG {group} {user}  (then log in again)"
                yield warning("permissions", f"{says}: of the group {group}", cure, **facts)


def by_group(nodes: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the nodes by the group that may open them; `root` where no group may."""
    found: dict[str, list[Path]] = {}
    for node in nodes:
        status = node.stat()
        group = status.st_gid if status.st_mode & 0o060 == 0o060 else 0  # noqa: PLR2004
        try:
            name = grp.getgrgid(group).gr_name
        except KeyError:
            name = str(group)
        found.setdefault(name, []).append(node)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.geteuid())
