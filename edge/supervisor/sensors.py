"""What the device feels: temperature, throttling, voltage, clock rate of its cores, from sysfs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.health import HELD_BACK_BY

SYS = Path("/sys")
UNDER_VOLTAGE, *_ = HELD_BACK_BY
# Bits of the Raspberry Pi firmware's `get_throttled`, as its documentation of vcgencmd has them;
# the same shifted by 16 say that it has happened: in sysfs, since the kernel asked two seconds
# before; by vcgencmd, since boot.
THROTTLED = dict(enumerate(HELD_BACK_BY))
HAPPENED = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the sensors; what a device does not tell is None or empty."""

    temperature_c: float | None
    """Of the hottest zone."""
    throttled: tuple[str, ...]
    """What holds the processor back at this moment, in the firmware's words."""
    clock_mhz: tuple[int, ...]
    """Of each core that tells it, at this moment."""
    happened: tuple[str, ...] | None = None
    """What has held it back for some time; None where no firmware tells either."""
    under_voltage: bool | None = None
    """Whether the voltage was too low in the last seconds, as the kernel's hwmon has it."""


class Sensors:
    """Finds once where a device tells them, and reads them again and again."""

    def __init__(self, sys: Path = SYS) -> None:
        """`sys` is where sysfs is mounted."""
        self._zones = sorted(sys.glob("class/thermal/thermal_zone*/temp"))
        firmware = sorted(sys.glob("devices/platform/soc*/*firmware/get_throttled"))
        self._throttled = firmware[0] if firmware else None
        # The driver of https://docs.kernel.org/hwmon/raspberrypi-hwmon.html is called rpi_volt.
        names = sorted(sys.glob("class/hwmon/hwmon*/name"))
        volt = [name for name in names if word(name) == "rpi_volt"]
        self._volt = volt[0].with_name("in0_lcrit_alarm") if volt else None
        clocks = sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
        self._clocks = sorted(clocks, key=lambda path: int(path.parts[-3][3:]))
        self.firmware_bits: int | None = None
        """What `get_throttled` said when somebody else asked it, for where sysfs has none."""

    @property
    def firmware_in_sysfs(self) -> bool:
        """Whether the firmware's `get_throttled` is there to be read."""
        return self._throttled is not None

    def read(self) -> Reading:
        """Look at all of them, in some 50 us each; one that fails tells nothing."""
        degrees = [milli / 1000 for path in self._zones if (milli := number(path)) is not None]
        bits = self.firmware_bits
        if self._throttled is not None:
            bits = number(self._throttled, base=16)
        alarm = number(self._volt) if self._volt is not None else None
        clocks = [khz // 1000 for path in self._clocks if (khz := number(path)) is not None]
        return Reading(
            temperature_c=max(degrees, default=None),
            throttled=_words(bits or 0),
            clock_mhz=tuple(clocks),
            happened=None if bits is None else _words(bits >> HAPPENED),
            under_voltage=None if alarm is None else bool(alarm),
        )


def _words(bits: int) -> tuple[str, ...]:
    return tuple(word for bit, word in THROTTLED.items() if bits >> bit & 1)


def number(path: Path, *, base: int = 10) -> int | None:
    """Return the integer that a file holds; None where it holds none."""
    try:
        return int(path.read_text(encoding="ascii"), base)
    except (OSError, ValueError):
        return None


def word(path: Path) -> str | None:
    """Return the text of a file without the space around it; None where there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
