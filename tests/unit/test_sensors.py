"""The sensors, in a sysfs laid out as a Raspberry Pi's, and on a device that tells nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorded_pi import RecordedPi

from edge.supervisor.sensors import Reading, Sensors

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pi_tells_the_hottest_zone_what_throttles_it_and_each_cores_clock(
    tmp_path: Path,
) -> None:
    pi = RecordedPi(tmp_path)
    pi.put("class/thermal/thermal_zone1/temp", "61342")
    pi.bits(0x50005)
    for core, khz in ((2, 600000), (10, 700000)):
        pi.put(f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", str(khz))
    held_back = ("under-voltage", "throttled")
    assert Sensors(pi.sys).read() == Reading(
        61.342, held_back, (1500, 1500, 600, 1500, 700), held_back, under_voltage=False
    )


def test_what_has_happened_is_told_apart_from_what_happens_now(tmp_path: Path) -> None:
    pi = RecordedPi(tmp_path, soc="soc@107c000000")
    pi.bits(0x20004)
    pi.alarm(on=True)
    reading = Sensors(pi.sys).read()
    assert (reading.throttled, reading.happened) == (("throttled",), ("frequency capped",))
    assert reading.under_voltage is True


def test_where_sysfs_does_not_tell_what_the_firmware_does_another_may(tmp_path: Path) -> None:
    sensors = Sensors(RecordedPi(tmp_path, firmware=False).sys)
    assert not sensors.firmware_in_sysfs
    reading = sensors.read()
    assert (reading.throttled, reading.happened) == ((), None)
    sensors.firmware_bits = 0x80001
    reading = sensors.read()
    assert reading.throttled == ("under-voltage",)
    assert reading.happened == ("soft temperature limit",)


def test_what_a_device_does_not_have_it_does_not_tell(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading(None, (), ())


def test_a_sensor_that_fails_tells_nothing_and_the_others_go_on(tmp_path: Path) -> None:
    pi = RecordedPi(tmp_path)
    pi.put("class/thermal/thermal_zone1/temp", "58000")
    sensors = Sensors(pi.sys)
    pi.put("class/thermal/thermal_zone0/temp", "")
    pi.put("class/hwmon/hwmon1/in0_lcrit_alarm", "?")
    for core in (0, 2):
        (pi.sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq").unlink()
    pi.put("devices/platform/soc/soc:firmware/get_throttled", "no")
    assert sensors.read() == Reading(58.0, (), (1500, 1500))
