"""The sensors, in a sysfs laid out as a Raspberry Pi's, and on a device that tells nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.supervisor.sensors import Reading, Sensors

if TYPE_CHECKING:
    from pathlib import Path


def put(sys: Path, place: str, text: str) -> None:
    path = sys / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def raspberry_pi(sys: Path) -> None:
    put(sys, "class/thermal/thermal_zone0/temp", "61342\n")
    put(sys, "class/thermal/thermal_zone1/temp", "58000\n")
    put(sys, "devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    for core, khz in ((0, 1500000), (2, 600000), (10, 700000)):
        put(sys, f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")


def test_a_pi_tells_the_hottest_zone_what_throttles_now_and_each_cores_clock(
    tmp_path: Path,
) -> None:
    raspberry_pi(tmp_path)
    reading = Sensors(tmp_path).read()
    assert reading == Reading(61.342, ("under-voltage", "throttled"), (1500, 600, 700))


def test_what_a_device_does_not_have_it_does_not_tell(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading(None, (), ())


def test_a_sensor_that_fails_tells_nothing_and_the_others_go_on(tmp_path: Path) -> None:
    raspberry_pi(tmp_path)
    sensors = Sensors(tmp_path)
    put(tmp_path, "class/thermal/thermal_zone0/temp", "")
    (tmp_path / "devices/system/cpu/cpu2/cpufreq/scaling_cur_freq").unlink()
    put(tmp_path, "devices/platform/soc/soc:firmware/get_throttled", "no\n")
    assert sensors.read() == Reading(58.0, (), (1500, 700))
