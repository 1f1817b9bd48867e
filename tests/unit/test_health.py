"""How the machine is, from folders laid out as a Raspberry Pi's, and from nothing at all."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from recorded_pi import RecordedPi

from edge.config.device import Telemetry
from edge.health import CoreClock, Memory
from edge.supervisor import machine, vcgencmd
from edge.supervisor.health import HealthWatch
from edge.supervisor.sensor_log import SensorLog
from edge.supervisor.sensors import Sensors

if TYPE_CHECKING:
    from pathlib import Path


class Owner:
    """A daemon that writes down what it is told."""

    def __init__(self, **telemetry: Any) -> None:
        self.events: list[str] = []
        self.throttled = asyncio.Event()
        self.device: Any = SimpleNamespace(telemetry=Telemetry(**telemetry))
        self.outlet: Any = SimpleNamespace(
            device="dev", boot="b", clock_synced=True, tell=self._tell
        )

    def _tell(self, event: str, message: str, **details: Any) -> None:
        assert message
        assert details["level"]
        self.events.append(event)
        if event == "throttling_began":
            self.throttled.set()


def watch(pi: RecordedPi, owner: Owner | None = None) -> HealthWatch:
    log = SensorLog(Sensors(pi.sys))
    return HealthWatch(owner or Owner(), log, sys=pi.sys, proc=pi.proc)


@pytest.mark.parametrize("soc", ["soc", "soc@107c000000"])
def test_a_pi_tells_how_it_is(soc: str, tmp_path: Path) -> None:
    pi = RecordedPi(tmp_path, soc=soc)
    health = watch(pi)
    pi.bits(0x50005)
    health.look()
    told = health.report()
    assert told.topic("edge") == "edge/dev/health"
    assert (told.uptime_s, told.temperature_c, told.under_voltage) == (93784.52, 48.312, True)
    assert told.throttled == told.throttled_ever == ["under-voltage", "throttled"]
    assert told.clocks == [
        CoreClock(cores=[0, 1, 2, 3], mhz=1500, min_mhz=600, max_mhz=1800, governor="ondemand")
    ]
    assert (told.load_1m, told.load_5m, told.load_15m) == (0.42, 0.31, 0.17)
    assert told.memory == Memory(
        total_bytes=945512 * 1024,
        available_bytes=612340 * 1024,
        swap_total_bytes=102396 * 1024,
        swap_free_bytes=102140 * 1024,
    )
    assert told.cores == len(os.sched_getaffinity(0))
    assert told.disk is not None
    assert 0 < told.disk.free_bytes <= told.disk.total_bytes


def test_what_a_machine_does_not_tell_is_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("edge.supervisor.health.state_directory", lambda: None)
    nothing = tmp_path / "nothing"
    health = HealthWatch(Owner(), SensorLog(Sensors(nothing)), sys=nothing, proc=nothing)
    health.look()
    told = health.report()
    for name in ("uptime_s", "temperature_c", "under_voltage", "throttled", "throttled_ever",
                 "load_1m", "load_5m", "load_15m", "memory", "disk"):  # fmt: skip
        assert getattr(told, name) is None, name
    assert told.clocks == []


@pytest.mark.parametrize("text", ["", "MemTotal: x kB\n", "MemTotal: 5 kB\n", "\xff"])
def test_memory_that_is_told_in_another_way_is_not_known(text: str, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(text, encoding="latin-1")
    assert machine.memory(tmp_path) is None


def test_a_disk_is_known_before_the_folder_is_there(tmp_path: Path) -> None:
    assert machine.disk(tmp_path / "not" / "yet") == machine.disk(tmp_path)


def test_the_machine_that_runs_this_has_memory_load_and_uptime() -> None:
    memory = machine.memory()
    assert memory is not None
    assert 0 < memory.available_bytes <= memory.total_bytes
    assert (machine.uptime_s() or 0) > 0
    assert None not in machine.loads()


def test_what_begins_is_told_and_home_assistant_hears_of_the_voltage(tmp_path: Path) -> None:
    pi, owner = RecordedPi(tmp_path), Owner(max_temperature_c=60)
    health = watch(pi, owner)
    heard: list[bool | None] = []
    health.voltage_changed = lambda: heard.append(health.under_voltage)
    health.look()
    assert heard == [False]
    pi.alarm(on=True)
    pi.bits(0x20002)
    pi.degrees(60.5)
    health.look()
    health.look()
    assert owner.events == ["under_voltage", "throttling_began", "too_hot"]
    assert heard == [False, True]


# Where the kernel does not tell, the firmware's own program is asked.


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `vcgencmd` that says what a file says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "vcgencmd"
    script.write_text(f'#!/bin/sh\ntest "$1" = get_throttled && exec cat {tmp_path}/says\n')
    script.chmod(0o755)
    (tmp_path / "says").write_text("throttled=0x0\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "says"


def test_vcgencmd_is_asked_each_interval_beside_the_loop(tmp_path: Path, program: Path) -> None:
    pi = RecordedPi(tmp_path, firmware=False)
    owner = Owner(interval_s=0.5)
    program.write_text("throttled=0x80000\n")
    health = watch(pi, owner)
    health.look()
    assert health.report().throttled_ever == ["soft temperature limit"]
    program.write_text("throttled=0xd0005\n")

    async def until_told() -> None:
        running = asyncio.create_task(health.run())
        await owner.throttled.wait()
        running.cancel()

    asyncio.run(asyncio.wait_for(until_told(), 30))
    assert owner.events == ["under_voltage", "throttling_began"]


def test_vcgencmd_is_not_asked_where_the_kernel_tells(tmp_path: Path, program: Path) -> None:
    program.write_text("throttled=0x5\n")
    health = watch(RecordedPi(tmp_path))
    health.look()
    assert health.report().throttled == []


@pytest.mark.parametrize(
    ("says", "bits"),
    [
        ("throttled=0x50005\n", 0x50005),
        ("throttled=0x0\n", 0),
        ("VCHI initialization failed\n", None),
        ("", None),
        ("throttled=0xfffffffff\n", None),
    ],
)
def test_what_vcgencmd_says_is_read(says: str, bits: int | None, program: Path) -> None:
    program.write_text(says)
    found = vcgencmd.find()
    assert found is not None
    assert vcgencmd.get_throttled(found) == bits


def test_a_vcgencmd_that_hangs_or_is_gone_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vcgencmd, "LIMIT_S", 0.1)
    hanging = tmp_path / "hanging"
    hanging.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    hanging.chmod(0o755)
    assert vcgencmd.get_throttled(str(hanging)) is None
    assert vcgencmd.get_throttled(str(tmp_path / "nowhere")) is None
