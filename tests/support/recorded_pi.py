"""The parts of sysfs and proc that tell how a Raspberry Pi is, laid out as its kernels have them.

The places are those of raspberrypi/linux 6.6: drivers/firmware/raspberrypi.c (get_throttled),
drivers/hwmon/raspberrypi-hwmon.c (rpi_volt), cpufreq and thermal as the kernel's documentation
has them. A Pi 5 has the same below `soc@107c000000`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = """MemTotal:         945512 kB
MemFree:          123456 kB
MemAvailable:     612340 kB
Buffers:           40960 kB
SwapTotal:        102396 kB
SwapFree:         102140 kB
HugePages_Total:       0
"""


class RecordedPi:
    """A Pi whose sensors say what they are told to."""

    def __init__(self, folder: Path, *, soc: str = "soc", firmware: bool = True) -> None:
        """Without `firmware` it is a kernel that has no `get_throttled` in sysfs."""
        self.sys, self.proc = folder / "sys", folder / "proc"
        self._throttled = self.sys / f"devices/platform/{soc}/{soc}:firmware/get_throttled"
        self.degrees(48.312)
        if firmware:
            self.bits(0)
        self.put("class/hwmon/hwmon0/name", "cpu_thermal")
        self.put("class/hwmon/hwmon0/temp1_input", "48312")
        self.put("class/hwmon/hwmon1/name", "rpi_volt")
        self.alarm(on=False)
        policy = "devices/system/cpu/cpufreq/policy0"
        self.put(f"{policy}/related_cpus", "0 1 2 3")
        self.put(f"{policy}/scaling_governor", "ondemand")
        for name, khz in (("cur", 1_500_000), ("min", 600_000), ("max", 1_800_000)):
            self.put(f"{policy}/scaling_{name}_freq", str(khz))
        for core in range(4):
            self.put(f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", "1500000")
        self.proc.mkdir(exist_ok=True)
        (self.proc / "uptime").write_text("93784.52 354321.11\n")
        (self.proc / "loadavg").write_text("0.42 0.31 0.17 2/345 6789\n")
        (self.proc / "meminfo").write_text(MEMINFO)

    def put(self, place: str, text: str) -> None:
        """Write a file of sysfs."""
        path = self.sys / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")

    def degrees(self, celsius: float) -> None:
        """Have this temperature."""
        self.put("class/thermal/thermal_zone0/temp", str(round(celsius * 1000)))

    def bits(self, bits: int) -> None:
        """Have the firmware say this of throttling."""
        self._throttled.parent.mkdir(parents=True, exist_ok=True)
        self._throttled.write_text(f"{bits:x}\n", encoding="ascii")

    def alarm(self, *, on: bool) -> None:
        """Have the kernel's alarm of under-voltage on or off."""
        self.put("class/hwmon/hwmon1/in0_lcrit_alarm", str(int(on)))
