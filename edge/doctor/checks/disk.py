"""Where the daemon writes: room, rights of the file system, wear."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.mounts import in_memory, mount_of, mounts_in, nearest_existing
from edge.doctor.patient import number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.mounts import Mount
    from edge.doctor.patient import Patient

LEAST_BYTES = 20_000_000  # beside what the spool may take: traces, a database's own needs
SPOOL_BYTES = 64_000_000  # the default of `mqtt.spool.max_bytes`
WORN = 0x0A  # eMMC 5.0, EXT_CSD: DEVICE_LIFE_TIME_EST, 90 to 100 % of its life is used
MAKE_ROOM = "sudo journalctl --vacuum-size=50M && sudo apt clean"


class Disk(Check):
    """Whether what waits for the broker can be kept."""

    name = "disk"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Look at the file systems of the state and the runtime directory, and of the sinks."""
        mounts = mounts_in(text_of(patient.proc / "self/mounts"))
        if (state := patient.state_folder) is not None:
            yield self._state(state, mounts, patient)
        if (runtime := patient.runtime_folder) is not None:
            yield _runtime(runtime, mounts)
        for sink in patient.device.sinks if patient.device else ():
            if isinstance(path := getattr(sink, "path", None), Path):
                yield _written(f"sink {sink.type}", path.parent, mounts)
        yield from _wear(patient)

    def _state(self, folder: Path, mounts: list[Mount], patient: Patient) -> Finding:
        spool = patient.device.mqtt.spool.max_bytes if patient.device else SPOOL_BYTES
        return _written("state directory", folder, mounts, needed_bytes=spool + LEAST_BYTES)


def _written(
    what: str, folder: Path, mounts: list[Mount], *, needed_bytes: int = LEAST_BYTES
) -> Finding:
    """Return the finding on a folder that is written to and has to outlive a restart."""
    there = nearest_existing(folder)
    mount = mount_of(there, mounts)
    room = os.statvfs(there)
    free = room.f_bavail * room.f_frsize
    says = f"{folder}: {free / 1e9:,.1f} GB free"
    says += f" on {mount.device} ({mount.kind})" if mount else ""
    facts = {
        "folder": str(folder),
        "free_bytes": free,
        "needed_bytes": needed_bytes,
        "file_system": mount.kind if mount else None,
        "on_card": mount.on_card if mount else None,
    }
    if room.f_flag & os.ST_RDONLY or (mount and mount.read_only):
        where = mount.folder if mount else there
        says += ", but it is read-only: nothing can be kept there"
        return problem(what, says, f"sudo mount -o remount,rw {where}", **facts)
    if free < LEAST_BYTES:
        return problem(what, f"{says}: it is full", MAKE_ROOM, **facts)
    if free < needed_bytes:
        says += f"; the spool may grow to {needed_bytes - LEAST_BYTES:,} bytes"
        return warning(what, says, "lower `mqtt.spool.max_bytes`, or make room", **facts)
    if mount and in_memory(mount, mounts):
        says += ": in memory, what waits for the broker is lost at a power cut"
        return warning(what, says, "put it on a disk, if that matters", **facts)
    return ok(what, says, **facts)


def _runtime(folder: Path, mounts: list[Mount]) -> Finding:
    """Return the finding on the folder of the journal of results, which is written all the time."""
    mount = mount_of(nearest_existing(folder), mounts)
    says = f"{folder} on {mount.kind if mount else 'an unknown file system'}"
    facts = {"folder": str(folder), "file_system": mount.kind if mount else None}
    if mount and not in_memory(mount, mounts):
        says += ": every result is written to the disk, and wears it"
        return warning("runtime directory", says, "run it as a service, which has /run", **facts)
    return ok("runtime directory", says, **facts)


def _wear(patient: Patient) -> Iterator[Finding]:
    """Tell of damage that the kernel has counted, and of eMMC that is near its end."""
    for path in sorted(patient.sys.glob("fs/ext4/*/errors_count")):
        if errors := number_of(path):
            says = f"the file system on {path.parent.name} has {errors} recorded errors"
            cure = "copy what matters, write `fsck.mode=force` into cmdline.txt, and reboot"
            yield warning("file system", says, cure, device=path.parent.name, errors=errors)
    for path in sorted(patient.sys.glob("block/mmcblk*/device/life_time")):
        used = [int(word, 16) for word in text_of(path).split() if word.startswith("0x")]
        if max(used, default=0) >= WORN:
            says = f"{path.parts[-3]} has used up 90 % of its life or more"
            yield warning("wear", says, "replace it soon", life_time=used)
