"""How hot it is, and whether heat or a weak power supply holds the processor back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.aside import output_of
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.patient import number_of, text_of
from edge.supervisor.sensors import THROTTLED, Sensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

HOT_C = 80.0  # from here on a Raspberry Pi slows down (Raspberry Pi documentation, config.txt)
SLOWING = ("passive", "hot", "critical")  # kinds of trip points (Linux, thermal sysfs)
MARGIN_C = 5.0
COOL = "give it air, a heat sink or a fan"
POWER = "take the power supply that was made for this board, and a short cable"
SINCE_BOOT = 16  # the bits of `get_throttled` come twice: now, and since boot


class Thermal(Check):
    """Whether the processor keeps its speed."""

    name = "thermal"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read thermal zones and the Raspberry Pi firmware's own word."""
        yield _temperature(patient)
        bits = _throttled(patient)
        if bits is not None:
            yield judge_throttling(bits)


def _temperature(patient: Patient) -> Finding:
    degrees = Sensors(patient.sys).read().temperature_c
    if degrees is None:
        return ok("temperature", "this machine does not tell it", temperature_c=None)
    limit = _slows_at(patient)
    says = f"{degrees:.0f} °C, it slows down at {limit:.0f}"
    facts = {"temperature_c": round(degrees, 1), "slows_at_c": limit}
    if degrees >= limit:
        return problem("temperature", says, COOL, **facts)
    if degrees >= limit - MARGIN_C:
        return warning("temperature", says, COOL, **facts)
    return ok("temperature", says, **facts)


def _slows_at(patient: Patient) -> float:
    """Return the lowest trip point at which something is done about the heat, at most 80 °C."""
    found = [HOT_C]
    for kind in patient.sys.glob("class/thermal/thermal_zone*/trip_point_*_type"):
        milli = number_of(kind.with_name(kind.name.replace("_type", "_temp")))
        if text_of(kind) in SLOWING and milli is not None and milli > 0:
            found.append(milli / 1000)
    return min(found)


def _throttled(patient: Patient) -> int | None:
    """Return the firmware's bits; None where this is no Raspberry Pi, or it does not tell."""
    for path in sorted(patient.sys.glob("devices/platform/soc*/*firmware/get_throttled")):
        if (bits := number_of(path, base=16)) is not None:
            return bits
    if "Raspberry Pi" not in text_of(patient.proc / "device-tree/model"):
        return None
    told = output_of("vcgencmd", "get_throttled") or ""  # throttled=0x50000
    try:
        return int(told.strip().removeprefix("throttled="), 16)
    except ValueError:
        return None


def judge_throttling(bits: int) -> Finding:
    """Return the finding on the bits of the firmware's `get_throttled`."""
    now = [word for bit, word in THROTTLED.items() if bits >> bit & 1]
    since_boot = [word for bit, word in THROTTLED.items() if bits >> bit >> SINCE_BOOT & 1]
    facts = {"bits": f"{bits:#x}", "now": now, "since_boot": since_boot}
    told = now or since_boot
    if not told:
        return ok("throttling", "none since boot", **facts)
    cure = POWER if "under-voltage" in told else COOL
    if now:
        return problem("throttling", f"at this moment: {', '.join(now)}", cure, **facts)
    return warning("throttling", f"since boot there was: {', '.join(since_boot)}", cure, **facts)
