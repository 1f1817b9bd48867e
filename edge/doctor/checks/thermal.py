"""How hot it is, and whether heat or a weak power supply holds the processor back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.patient import number_of, text_of
from edge.supervisor import vcgencmd
from edge.supervisor.sensors import HAPPENED, THROTTLED, UNDER_VOLTAGE, Reading, Sensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

HOT_C = 80.0  # from here on a Raspberry Pi slows down (Raspberry Pi documentation, config.txt)
SLOWING = ("passive", "hot", "critical")  # kinds of trip points (Linux, thermal sysfs)
MARGIN_C = 5.0
COOL = "give it air, a heat sink or a fan"
POWER = "take the power supply that was made for this board, and a short cable"


class Thermal(Check):
    """Whether the processor keeps its speed."""

    name = "thermal"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read thermal zones and the Raspberry Pi firmware's own word."""
        reading = Sensors(patient.sys).read()
        yield _temperature(patient, reading.temperature_c)
        program = vcgencmd.find()
        bits = vcgencmd.get_throttled(program) if program is not None else None
        if bits is not None or reading.happened is not None or reading.under_voltage is not None:
            yield judge_throttling(reading, bits)


def _temperature(patient: Patient, degrees: float | None) -> Finding:
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


def judge_throttling(reading: Reading, bits: int | None) -> Finding:
    """Return the finding on what the kernel tells now, and on `vcgencmd get_throttled`.

    The program knows what has happened since boot; sysfs only what has in the last seconds.
    """
    now = list(reading.throttled)
    if bits is not None:
        now = [word for bit, word in THROTTLED.items() if bits >> bit & 1]
    if reading.under_voltage and UNDER_VOLTAGE not in now:
        now.insert(0, UNDER_VOLTAGE)
    before = list(reading.happened or ())
    if bits is not None:
        before = [word for bit, word in THROTTLED.items() if bits >> bit >> HAPPENED & 1]
    facts = {"now": now, "happened": before, "bits": None if bits is None else f"{bits:#x}"}
    told = now or before
    span = "of late" if bits is None else "since boot"
    if not told:
        return ok("throttling", f"none {span}", **facts)
    cure = POWER if UNDER_VOLTAGE in told else COOL
    if now:
        return problem("throttling", f"at this moment: {', '.join(now)}", cure, **facts)
    return warning("throttling", f"{span} there was: {', '.join(before)}", cure, **facts)
