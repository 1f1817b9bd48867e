"""The doctor on memory, clock rate, heat, clock and disk, in a root laid out as a Pi's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from raspberry_pi import lay_out, pi_4

from edge.doctor.checks import clock, thermal
from edge.doctor.checks.disk import Disk
from edge.doctor.checks.governor import Governor
from edge.doctor.checks.memory import Memory
from edge.doctor.checks.state import State
from edge.doctor.mounts import in_memory, mount_of, mounts_in
from edge.doctor.patient import Patient
from edge.supervisor.sensors import Reading

if TYPE_CHECKING:
    from edge.doctor.finding import Check, Finding


def looked(check: Check, root: Path) -> list[Finding]:
    return list(check.look(Patient(root)))


def only(check: Check, root: Path) -> Finding:
    (finding,) = looked(check, root)
    return finding


def test_a_pi_with_room_is_well(tmp_path: Path) -> None:
    pi_4(tmp_path)
    finding = only(Memory(), tmp_path)
    assert (finding.level, finding.says) == (
        "ok",
        "2,974 of 3,978 MB available, 0 of 209 MB swap in use (/var/swap)",
    )
    assert finding.facts["available_bytes"] == 2905000 << 10


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"proc/vmstat": "oom_kill 2\n"}, "the kernel has killed 2 processes for memory"),
        (
            {"proc/meminfo": "MemTotal: 440000 kB\nMemAvailable: 60000 kB\n"},
            "61 of 450 MB available, no swap (/var/swap); a daemon with one small model holds",
        ),
        (
            {
                "proc/meminfo": "MemTotal: 3885400 kB\nMemAvailable: 2905000 kB\n"
                "SwapTotal: 200000 kB\nSwapFree: 50000 kB\n"
            },
            "153 of 204 MB swap in use",
        ),
    ],
)
def test_want_of_memory_is_a_warning(files: dict[str, str], words: str, tmp_path: Path) -> None:
    pi_4(tmp_path)
    lay_out(tmp_path, files)
    finding = only(Memory(), tmp_path)
    assert finding.level == "warning"
    assert words in finding.says


def test_cores_that_are_held_down_are_a_warning(tmp_path: Path) -> None:
    pi_4(tmp_path)
    assert only(Governor(), tmp_path).says == "governor ondemand, up to 1500 MHz"
    cores = "sys/devices/system/cpu/cpu{}/cpufreq"
    lay_out(tmp_path, {f"{cores.format(n)}/scaling_max_freq": "1000000\n" for n in range(4)})
    limited = only(Governor(), tmp_path)
    assert limited.level == "warning"
    assert "echo 1500000" in (limited.cure or "")
    lay_out(tmp_path, {f"{cores.format(2)}/scaling_governor": "powersave\n"})
    saving = only(Governor(), tmp_path)
    assert saving.level == "warning"
    assert (saving.cure or "").startswith("echo performance | sudo tee /sys/")


def test_intels_powersave_does_raise_the_clock(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
        },
    )
    assert only(Governor(), tmp_path).level == "ok"


def test_a_cool_pi_that_nothing_holds_back(tmp_path: Path) -> None:
    pi_4(tmp_path)
    temperature, throttling = looked(thermal.Thermal(), tmp_path)
    assert (temperature.level, temperature.says) == ("ok", "48 °C, it slows down at 80")
    assert (throttling.level, throttling.says) == ("ok", "none of late")


@pytest.mark.parametrize(
    ("milli", "level"), [(74900, "ok"), (76000, "warning"), (81000, "problem")]
)
def test_heat(milli: int, level: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"sys/class/thermal/thermal_zone0/temp": f"{milli}\n"})
    assert only(thermal.Thermal(), tmp_path).level == level


def test_a_trip_point_below_80_degrees_counts(tmp_path: Path) -> None:
    pi_4(tmp_path)
    zone = "sys/class/thermal/thermal_zone0"
    lay_out(
        tmp_path,
        {f"{zone}/trip_point_1_type": "passive\n", f"{zone}/trip_point_1_temp": "45000\n"},
    )
    assert looked(thermal.Thermal(), tmp_path)[0].level == "problem"


@pytest.mark.parametrize(
    ("bits", "level", "words", "cure"),
    [
        (0x0, "ok", "none since boot", None),
        (0x50000, "warning", "since boot there was: under-voltage, throttled", "power supply"),
        (0x50005, "problem", "at this moment: under-voltage, throttled", "power supply"),
        (0x80008, "problem", "at this moment: soft temperature limit", "heat sink"),
    ],
)
def test_the_firmwares_bits_by_vcgencmd(
    bits: int, level: str, words: str, cure: str | None
) -> None:
    finding = thermal.judge_throttling(Reading(None, (), ()), bits)
    assert (finding.level, finding.says) == (level, words)
    assert cure is None or cure in (finding.cure or "")


@pytest.mark.parametrize(
    ("bits", "alarm", "level", "words"),
    [
        ("50000", "0", "warning", "of late there was: under-voltage, throttled"),
        ("4", "0", "problem", "at this moment: throttled"),
        ("0", "1", "problem", "at this moment: under-voltage"),
    ],
)
def test_the_kernels_word_where_there_is_no_vcgencmd(
    bits: str, alarm: str, level: str, words: str, tmp_path: Path
) -> None:
    pi_4(tmp_path)
    hwmon = "sys/class/hwmon/hwmon1"
    lay_out(
        tmp_path,
        {
            "sys/devices/platform/soc/soc:firmware/get_throttled": f"{bits}\n",
            f"{hwmon}/name": "rpi_volt\n",
            f"{hwmon}/in0_lcrit_alarm": f"{alarm}\n",
        },
    )
    _, throttling = looked(thermal.Thermal(), tmp_path)
    assert (throttling.level, throttling.says) == (level, words)


def test_a_machine_that_tells_no_temperature_is_no_warning(tmp_path: Path) -> None:
    assert [each.level for each in looked(thermal.Thermal(), tmp_path)] == ["ok"]


@pytest.mark.parametrize(
    ("synced", "setters", "chip", "level", "words"),
    [
        (True, ["systemd-timesyncd"], False, "ok", "set, by systemd-timesyncd"),
        (True, [], True, "ok", "by nobody who runs here"),
        (False, ["chrony"], True, "warning", "chrony runs and has not reached its servers"),
        (False, [], False, "warning", "nobody sets it; there is no clock chip"),
    ],
)
def test_clocks(synced: bool, setters: list[str], chip: bool, level: str, words: str) -> None:
    finding = clock.judge(synced=synced, setters=setters, chip=chip)
    assert finding.level == level
    assert words in finding.says


def test_who_sets_the_clock_is_found_among_the_processes(tmp_path: Path) -> None:
    pi_4(tmp_path)
    assert only(clock.Clock(), tmp_path).facts["set_by"] == ["systemd-timesyncd"]


MOUNTS = """/dev/mmcblk0p2 / ext4 rw,noatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
/dev/sda1 /mnt/my\\040disk ext4 ro,relatime 0 0
overlay /over overlay rw,lowerdir=/lower,upperdir=/run/upper,workdir=/run/work 0 0
overlay /kept overlay rw,lowerdir=/lower,upperdir=/upper,workdir=/work 0 0
"""


def test_a_folder_lies_on_the_longest_mount_point_above_it() -> None:
    mounts = mounts_in(MOUNTS)
    card = mount_of(Path("/var/lib"), mounts)
    assert card is not None
    assert card.on_card
    assert not card.read_only
    disk = mount_of(Path("/mnt/my disk/a"), mounts)
    assert disk is not None
    assert (disk.device, disk.read_only, disk.on_card) == ("/dev/sda1", True, False)


def test_an_overlay_is_in_memory_where_its_upper_folder_is() -> None:
    mounts = mounts_in(MOUNTS)
    found = {str(mount.folder): in_memory(mount, mounts) for mount in mounts}
    assert found == {
        "/": False, "/run": True, "/mnt/my disk": False, "/over": True, "/kept": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mount", "level", "words"),
    [
        ("/dev/mmcblk0p2 {} ext4 rw 0 0", "ok", "on /dev/mmcblk0p2 (ext4)"),
        ("/dev/mmcblk0p2 {} ext4 ro 0 0", "problem", "read-only"),
        ("tmpfs {} tmpfs rw 0 0", "warning", "lost at a power cut"),
    ],
)
def test_the_services_state_directory(mount: str, level: str, words: str, tmp_path: Path) -> None:
    state = tmp_path / "var/lib/edge-runtime"
    state.mkdir(parents=True)
    lay_out(tmp_path, {"proc/self/mounts": mount.format(state) + "\n"})
    finding = looked(Disk(), tmp_path)[0]
    assert finding.what == "state directory"
    assert finding.level == level
    assert words in finding.says
    assert finding.facts["free_bytes"] > 0


def test_a_runtime_directory_on_a_disk_wears_it(tmp_path: Path) -> None:
    run = tmp_path / "run/edge-runtime"
    run.mkdir(parents=True)
    for kind, level in (("tmpfs", "ok"), ("ext4", "warning")):
        lay_out(tmp_path, {"proc/self/mounts": f"x {run} {kind} rw 0 0\n"})
        finding = looked(Disk(), tmp_path)[1]
        assert (finding.what, finding.level) == ("runtime directory", level)


def test_damage_and_wear_that_the_kernel_tells_of(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "sys/fs/ext4/mmcblk0p2/errors_count": "3\n",
            "sys/fs/ext4/sda1/errors_count": "0\n",
            "sys/block/mmcblk0/device/life_time": "0x02 0x0a\n",
        },
    )
    errors, wear = looked(Disk(), tmp_path)[2:]
    assert (errors.level, errors.facts) == ("warning", {"device": "mmcblk0p2", "errors": 3})
    assert wear.says == "mmcblk0 has used up 90 % of its life or more"


def test_what_lies_in_the_state_directory_is_counted(tmp_path: Path) -> None:
    folder = "var/lib/edge-runtime"
    lay_out(tmp_path, {f"{folder}/spool-a.sqlite": "12345678", f"{folder}/traces/a": "1"})
    finding = only(State(), tmp_path)
    assert finding.level == "ok"
    assert finding.facts["spool_bytes"] == 8
    assert finding.facts["files"] == 2
    lay_out(tmp_path, {f"{folder}/spool-a.sqlite.set-aside-20260101T000000": ""})
    assert only(State(), tmp_path).level == "warning"
