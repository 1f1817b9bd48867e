"""The machine that is looked at, and the device YAML it is looked at with."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.state import NAME, runtime_directory, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.device import Device


def can_open(node: Path) -> bool:
    """Whether this user may read and write a device node."""
    return os.access(node, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True)
class Patient:
    """Where to look: everything the kernel tells is below `root`."""

    root: Path = Path("/")
    config: Path | None = None
    """The device YAML that was named."""
    device: Device | None = None
    """What stands in it; None where there is none, or it is wrong."""
    mistakes: tuple[str, ...] = ()
    """What is wrong in it, where it could not be loaded."""
    can_open: Callable[[Path], bool] = field(default=can_open)

    @property
    def sys(self) -> Path:
        """Where sysfs is mounted."""
        return self.root / "sys"

    @property
    def proc(self) -> Path:
        """Where proc is mounted."""
        return self.root / "proc"

    @property
    def dev(self) -> Path:
        """Where the device nodes are."""
        return self.root / "dev"

    @property
    def state_folder(self) -> Path | None:
        """Where the daemon keeps what outlives it: the service's folder where there is one."""
        services = self.root / "var/lib" / NAME
        return services if os.path.lexists(services) else state_directory()

    @property
    def runtime_folder(self) -> Path | None:
        """Where the daemon's journal lies: the service's folder where there is one."""
        services = self.root / "run" / NAME
        return services if os.path.lexists(services) else runtime_directory()


def text_of(path: Path) -> str:
    """Return what stands in a small file of the kernel's; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \0\n")
    except OSError:
        return ""


def number_of(path: Path, *, base: int = 10) -> int | None:
    """Return the number that stands in a file of the kernel's; None where there is none."""
    try:
        return int(text_of(path), base)
    except ValueError:
        return None
