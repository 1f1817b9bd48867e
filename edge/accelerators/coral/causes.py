"""Why a Coral Edge TPU cannot be used, and the one thing to do about it."""

from __future__ import annotations

import getpass
import grp
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from edge.accelerators import shared_object
from edge.accelerators.base import STEPS, Explained
from edge.accelerators.coral.combinations import RELEASES, how_to_install
from edge.accelerators.coral.devices import (
    USB_2_MBPS,
    EdgeTpu,
    Machine,
    find_edge_tpus,
    holder_of,
    may_open,
    meant,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.accelerators.base import Trouble

BUSES = {
    "any": ", neither on USB (1a6e:089a or 18d1:9302) nor on PCIe (1ac1:089a)",
    "usb": " on USB (1a6e:089a or 18d1:9302)",
    "pci": " on PCIe (1ac1:089a)",
}
DRIVER = "https://github.com/feranick/gasket-driver"
RULES = "the udev rules of systemd/60-edge-runtime.rules, which `edge service install` writes"
REPLUG = {
    "usb": "pull it out and plug it in again, straight into a USB 3 port, with its own cable",
    "pci": "see that it sits firmly in its slot, and restart",
}

# What libedgetpu says (driver/package_registry.cc), and what it says of a TFLite that is not the
# one it was built for (google-coral/edgetpu issues 259 and 71).
NEWER = re.compile(r"requires runtime version \((\d+)\), which is newer than this.*?\((\d+)\)")
FOREIGN = re.compile(r"Unsupported data type in custom op handler|single_input_size != input->")
# What it says as it ends its process, or of a transfer (driver/usb/usb_driver.cc, mmio_driver.cc).
CONNECTION = re.compile(r"USB transfer error|transfer on tag|usb_driver\.cc|HIB Error|bulk out")


class Wanted(NamedTuple):
    """What the configuration asks for."""

    title: str
    device: str
    """`any`, `usb`, `pci`, or one of them by number: `usb:0`."""
    library: str


def explain(wanted: Wanted, trouble: Trouble, machine: Machine) -> Explained:
    """Return what is wrong with an Edge TPU that cannot be used, and what to do."""
    if trouble.cause in {"library_missing", "library_unusable"}:
        cure = how_to_install(trouble.engine)
        library = shared_object.Library(f"the {wanted.title}", wanted.library, cure)
        return shared_object.explain(library, trouble.said)
    if trouble.step in {"engine", "library"}:
        return Explained(trouble.cause, _seen(wanted, trouble))
    newer = NEWER.search(trouble.said)
    if newer:
        text = (
            f"the model is compiled for the Edge TPU's runtime {newer[1]}, and the libedgetpu here "
            f"has {newer[2]}: install a newer one from {RELEASES}, or compile the model with "
            f"`edgetpu_compiler --min_runtime_version {newer[2]}`"
        )
        return Explained("runtime_too_old", text)
    if FOREIGN.search(trouble.said):
        return _foreign(wanted, trouble)
    missing = unavailable(wanted, machine)
    if missing is not None:
        return missing
    if trouble.cause == "crashed" and not CONNECTION.search(trouble.said):
        return _foreign(wanted, trouble)
    here = meant(wanted.device, find_edge_tpus(machine))[0]
    if trouble.cause == "failed" and trouble.step == "delegate":
        state = ", still without its firmware (1a6e:089a)," if here.fresh else ""
        text = (
            f"libedgetpu refused the {wanted.title}, which is plugged in {here.place}{state} and "
            f"may be opened{_quoted(trouble)}: {REPLUG[here.bus]}"
        )
        return Explained("refused", text)
    return Explained(trouble.cause, f"{_seen(wanted, trouble)}: {REPLUG[here.bus]}")


def unavailable(wanted: Wanted, machine: Machine) -> Explained | None:
    """Return why no Edge TPU can be opened, as far as the kernel's files tell; None if it can."""
    found = find_edge_tpus(machine)
    candidates = meant(wanted.device, found)
    if not candidates:
        return Explained("no_device", _absent(wanted, found))
    closed = [each for each in candidates if each.node is None or not each.node.exists()]
    if len(closed) == len(candidates):
        return Explained("no_device", _without_node(wanted, closed[0]))
    ready = [each.node for each in candidates if each.node is not None and each.node.exists()]
    allowed = [node for node in ready if may_open(node)]
    if not allowed:
        return Explained("no_permission", _forbidden(wanted, ready[0]))
    holders = [holder_of(node, machine) for node in allowed]
    if all(holders) and holders[0] is not None:
        text = (
            f"the {wanted.title} is in use by process {holders[0].pid} ({holders[0].name}), and "
            "serves one at a time: stop that one, or give this pipeline another `device`"
        )
        return Explained("busy", text)
    return None


def remarks(wanted: Wanted, machine: Machine) -> Iterator[str]:
    """Tell what slows down an Edge TPU that can be used."""
    candidates = meant(wanted.device, find_edge_tpus(machine))
    for each in candidates[:1]:
        if each.usb_mbps is not None and each.usb_mbps <= USB_2_MBPS:
            yield (
                f"the {wanted.title} is at {each.usb_mbps} Mbit/s, the speed of USB 2: each frame "
                "waits for its transfer; plug it into a USB 3 port, with its own cable"
            )


def not_compiled(wanted: Wanted, path: Path) -> Explained:
    """Say that a model holds nothing for the Edge TPU."""
    text = (
        f"{path}: is not compiled for the {wanted.title}, and all of it would run on the CPU: name "
        "what `edgetpu_compiler` makes of it, and this file as `cpu_path`"
    )
    return Explained("not_compiled", text)


def _absent(wanted: Wanted, found: list[EdgeTpu]) -> str:
    bus, _, number = wanted.device.partition(":")
    there = meant(bus, found)
    if number and there:
        known = f"`{bus}:0`" if len(there) == 1 else f"`{bus}:0` to `{bus}:{len(there) - 1}`"
        return f"there is no {wanted.title}, only {known}: correct `device`"
    elsewhere = f", but one is {found[0].place}: correct `device`" if found else ": plug it in"
    return f"no Edge TPU is plugged in{BUSES[bus]}{elsewhere}"


def _without_node(wanted: Wanted, device: EdgeTpu) -> str:
    if device.bus == "pci":
        return (
            f"the {wanted.title} is {device.place}, but its driver is not loaded (there is no "
            f"/dev/apex_0): install gasket-dkms from {DRIVER} and restart"
        )
    return (
        f"the {wanted.title} is {device.place}, but {device.node} is not here: hand /dev/bus/usb "
        "to this container or service"
    )


def _forbidden(wanted: Wanted, node: Path) -> str:
    status = node.stat()
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # one without a name
        user = "this user"
    says = f"{user} may not open the {wanted.title} ({node}, of group {group}, mode {mode:04o})"
    if group == "root" or not mode & stat.S_IWGRP:
        return f"{says}: install {RULES}, and plug it in again"
    return (
        f"{says}: `sudo usermod -aG {group} {user}`, and log in again; the service is given the "
        "group by `edge service install`"
    )


def _foreign(wanted: Wanted, trouble: Trouble) -> Explained:
    text = (
        f"the {wanted.title}'s {wanted.library} and {trouble.engine} do not go together: it "
        f"{_how(trouble)} {STEPS[trouble.step]}{_quoted(trouble)}, as one does that is built for "
        f"another TensorFlow Lite: {how_to_install(trouble.engine)}"
    )
    return Explained("incompatible_library", text)


def _seen(wanted: Wanted, trouble: Trouble) -> str:
    how = f"{_how(trouble)} {STEPS[trouble.step]}"
    return f"the {wanted.title} {how}{_quoted(trouble)}, with {trouble.engine}"


def _how(trouble: Trouble) -> str:
    return {"crashed": "crashed", "hung": "did not answer"}.get(trouble.cause, "failed")


def _quoted(trouble: Trouble) -> str:
    return f" ({trouble.said})" if trouble.said else ""
