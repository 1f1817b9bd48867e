"""What a device needs of its unit and nothing beyond: groups, devices, secrets, real time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.config.ladder import pipeline_on_each_rung
from edge.service.place import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.config.device import Device
    from edge.service.carry import Carried
    from edge.service.place import Place


class Access(NamedTuple):
    """A group, and the devices that it is for, in the words of DeviceAllow=."""

    group: str
    devices: tuple[str, ...]


CAMERA = Access("video", ("char-video4linux", "char-media", "char-dma_heap"))
SERIAL = Access("dialout", ("char-ttyUSB", "char-ttyACM", "char-ttyAMA", "char-ttyS"))
CORAL = Access("plugdev", ("char-usb_device", "char-apex"))
GRAPHICS = Access("render", ("char-drm",))
OF_SOURCE = {"camera": [CAMERA], "picamera": [CAMERA], "serial": [SERIAL]}
OF_SINK = {"serial": [SERIAL]}
OF_ACCELERATOR = {"edgetpu": [CORAL], "delegate": [CORAL, GRAPHICS]}
WAKE_UP_LIMIT = Access("video", ("/dev/cpu_dma_latency",))


def accesses(device: Device) -> Iterator[Access]:
    """Return what the device's parts must be able to open, with repetitions."""
    for sink in device.sinks:
        yield from OF_SINK.get(sink.type, [])
    if device.wake_up_limit_us is not None:
        yield WAKE_UP_LIMIT
    for pipeline in device.pipelines.values():
        for source in pipeline.all_sources.values():
            yield from OF_SOURCE.get(source.type, [])
        for rung in pipeline_on_each_rung(pipeline):
            if rung.model.accelerator is not None:
                yield from OF_ACCELERATOR.get(rung.model.accelerator.type, [])


def real_time(device: Device) -> Iterator[str]:
    """Return the settings that grant what `cpu:` asks for."""
    cpus = [pipeline.cpu for pipeline in device.pipelines.values()]
    priorities = [cpu.priority for cpu in cpus if cpu.scheduling == "fifo"]
    if priorities:
        yield "RestrictRealtime=no"
        yield f"LimitRTPRIO={max(priorities)}"
    if (nice := min(cpu.nice for cpu in cpus)) < 0:
        yield f"LimitNICE={nice}"


def drop_in(
    device: Device, carried: Carried, place: Place, *, program: str, groups: Iterable[str]
) -> str:
    """Return the settings beside the unit's file; `groups` are those that the system knows.

    `program` is the path of the command `edge`.
    """
    found = list(accesses(device))
    known = {access.group for access in found}.intersection(groups)
    own = f"sudo systemctl edit {place.unit.removesuffix('.service')}"
    lines = [
        f"# Written by `edge service install` from {place.config}: what that needs, and no more.",
        f"# It is written anew each time. Settings of your own: `{own}`.",
        "[Service]",
        "SupplementaryGroups=",
        *(f"SupplementaryGroups={group}" for group in sorted(known)),
        "DeviceAllow=",
        *(f"DeviceAllow={each} rw" for each in sorted({d for a in found for d in a.devices})),
        *(f"LoadCredential={name}:{place.credentials}/{name}" for name in carried.credentials),
        *(f"ReadWritePaths=-{folder}" for folder in carried.writable),
        *real_time(device),
    ]
    if program != PROGRAM:
        lines += ["ExecStart=", f"ExecStart={program} run {place.config}"]
    return "\n".join(lines) + "\n"
