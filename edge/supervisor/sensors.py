"""What the device feels: temperature, throttling, clock rate of its cores, from sysfs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
# Bits of the Raspberry Pi firmware's `get_throttled`, as its documentation of vcgencmd has them;
# the same shifted by 16 say that it has happened since boot.
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the sensors; what a device does not tell is None or empty."""

    temperature_c: float | None
    """Of the hottest zone."""
    throttled: tuple[str, ...]
    """What holds the processor back at this moment, in the firmware's words."""
    clock_mhz: tuple[int, ...]
    """Of each core that tells it, at this moment."""


class Sensors:
    """Finds once where a device tells them, and reads them again and again."""

    def __init__(self, sys: Path = SYS) -> None:
        """`sys` is where sysfs is mounted."""
        self._zones = sorted(sys.glob("class/thermal/thermal_zone*/temp"))
        firmware = sorted(sys.glob("devices/platform/soc*/*firmware/get_throttled"))
        self._throttled = firmware[0] if firmware else None
        clocks = sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
        self._clocks = sorted(clocks, key=lambda path: int(path.parts[-3][3:]))

    def read(self) -> Reading:
        """Look at all of them, in some 50 us each; one that fails tells nothing."""
        degrees = [milli / 1000 for path in self._zones if (milli := _number(path)) is not None]
        bits = _number(self._throttled, base=16) if self._throttled is not None else None
        clocks = [khz // 1000 for path in self._clocks if (khz := _number(path)) is not None]
        return Reading(
            temperature_c=max(degrees, default=None),
            throttled=tuple(word for bit, word in THROTTLED.items() if (bits or 0) >> bit & 1),
            clock_mhz=tuple(clocks),
        )


def _number(path: Path, *, base: int = 10) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"), base)
    except (OSError, ValueError):
        return None
