"""On which file system a folder lies, and what that means for what is written there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
ESCAPE = re.compile(r"\\([0-7]{3})")  # of proc(5), mounts


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mounts."""

    device: str
    folder: Path
    kind: str
    options: tuple[str, ...]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return "ro" in self.options

    @property
    def on_card(self) -> bool:
        """Whether it is an SD card's or eMMC's, which wears out with writing."""
        return self.device.startswith("/dev/mmcblk")


def mounts_in(text: str) -> list[Mount]:
    """Read /proc/self/mounts."""
    found = []
    for line in text.splitlines():
        fields = [ESCAPE.sub(lambda match: chr(int(match[1], 8)), f) for f in line.split(" ")]
        if len(fields) > 3:  # noqa: PLR2004
            device, folder, kind, options = fields[:4]
            found.append(Mount(device, Path(folder), kind, tuple(options.split(","))))
    return found


def mount_of(folder: Path, mounts: list[Mount]) -> Mount | None:
    """Return where a folder lies: the longest mount point above it, of equal ones the last."""
    best = None
    for mount in mounts:
        inside = folder == mount.folder or mount.folder in folder.parents
        if inside and (best is None or len(mount.folder.parts) >= len(best.folder.parts)):
            best = mount
    return best


def in_memory(mount: Mount, mounts: list[Mount]) -> bool:
    """Whether what is written there is gone at a restart of the machine.

    Of an overlay that is so where its upper folder lies in memory, as with the overlay file
    system of raspi-config.
    """
    if mount.kind != "overlay":
        return mount.kind in IN_MEMORY
    uppers = [o.removeprefix("upperdir=") for o in mount.options if o.startswith("upperdir=")]
    below = mount_of(Path(uppers[0]), mounts) if uppers else None
    return below is not None and below.kind in IN_MEMORY


def nearest_existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there, without symbolic links."""
    for each in (folder, *folder.parents):
        try:
            if each.exists():
                return Path(os.path.realpath(each))
        except OSError:  # no permission to look
            continue
    return Path("/")
