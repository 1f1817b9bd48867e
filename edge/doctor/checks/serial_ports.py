"""Serial ports: which there are, and what is behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, warning
from edge.doctor.patient import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.patient import Patient

KINDS = ("ttyUSB*", "ttyACM*", "ttyAMA*", "serial[0-9]*")


class SerialPorts(Check):
    """Whether a port is free for who wants to use it."""

    name = "serial ports"
    group = "devices"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """List them, and see which the kernel writes its own messages to."""
        ports = find_ports(patient)
        if not ports:
            yield ok("serial", "no port", ports={})
            return
        consoles = [
            word.removeprefix("console=").partition(",")[0]
            for word in text_of(patient.proc / "cmdline").split()
            if word.startswith("console=")
        ]
        says = "; ".join(f"{path}{f' ({what})' if what else ''}" for path, what in ports.items())
        facts = {"ports": {str(path): what for path, what in ports.items()}, "consoles": consoles}
        real = {path.resolve().name: path for path in ports}
        taken = [real[name] for name in consoles if name in real]
        taken += [path for path in ports if path.name in consoles and path not in taken]
        if taken:
            says += f"; the kernel's console is on {taken[0]}"
            cure = "sudo raspi-config nonint do_serial_cons 1 && sudo reboot"
            yield warning("serial", says, cure, **facts)
        else:
            yield ok("serial", says, **facts)


def find_ports(patient: Patient) -> dict[Path, str]:
    """Return the ports by the name that stays the same, each with what is plugged in there."""
    stable = {}
    folder = patient.dev / "serial/by-id"
    for link in sorted(folder.iterdir()) if folder.is_dir() else ():
        stable[link.resolve()] = link
    found: dict[Path, str] = {}
    for kind in KINDS:
        for port in sorted(patient.dev.glob(kind)):
            product = _product(patient.sys / "class/tty" / port.resolve().name / "device")
            found[stable.get(port.resolve(), port)] = product
    return found


def _product(device: Path) -> str:
    """Return the name of the USB device that a port is of: some folders above it in sysfs."""
    device = device.resolve()
    for folder in (device, *list(device.parents)[:3]):
        if product := text_of(folder / "product"):
            return product
    return ""
