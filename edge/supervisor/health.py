"""Watches the machine: its sensors each second, and all of it when a report is due."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from edge.health import Health
from edge.state import state_directory
from edge.supervisor import clock, machine, vcgencmd
from edge.supervisor.episodes import Episodes
from edge.supervisor.machine import PROC
from edge.supervisor.sensors import SYS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.config.device import Device
    from edge.event_names import EventName
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.sensor_log import SensorLog

EVERY_S = 1.0


class Owner(Protocol):
    """The daemon: a reload may change both."""

    @property
    def device(self) -> Device:
        """The configuration in force."""

    @property
    def outlet(self) -> Outlet:
        """The way to the broker."""


class HealthWatch:
    """Tells when under-voltage, throttling and heat begin and end, and how the machine is."""

    def __init__(
        self,
        owner: Owner,
        sensors: SensorLog,
        *,
        sys: Path = SYS,
        proc: Path = PROC,
    ) -> None:
        """`sensors` is what it fills; `sys` and `proc` are where sysfs and proc are mounted.

        Where sysfs does not tell what the firmware does, it is asked by `vcgencmd`: now, and then
        beside the loop.
        """
        self._owner = owner
        self._sensors = sensors
        self._sys, self._proc = sys, proc
        self._episodes = Episodes(self._tell)
        self.voltage_changed: Callable[[], None] = lambda: None
        """Called when under-voltage has begun or ended."""
        self._asking: asyncio.Task[None] | None = None
        self._vcgencmd = None if sensors.sensors.firmware_in_sysfs else vcgencmd.find()
        if self._vcgencmd is not None:
            sensors.sensors.firmware_bits = vcgencmd.get_throttled(self._vcgencmd)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        asked_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            due = now_s - asked_s >= self._owner.device.telemetry.interval_s
            if self._vcgencmd is not None and due and (self._asking is None or self._asking.done()):
                asked_s = now_s
                self._asking = asyncio.create_task(self._ask(self._vcgencmd))
            self.look()
            await asyncio.sleep(EVERY_S)

    async def _ask(self, program: str) -> None:
        bits = await asyncio.to_thread(vcgencmd.get_throttled, program)
        self._sensors.sensors.firmware_bits = bits

    def look(self) -> None:
        """Read the sensors, and tell what begins or ends with what they say."""
        before = self.under_voltage
        limit_c = self._owner.device.telemetry.max_temperature_c
        self._episodes.take(self._sensors.look(), limit_c=limit_c, now_s=time.monotonic())
        if self.under_voltage != before:
            self.voltage_changed()

    def _tell(self, event: EventName, message: str, *, level: int, **details: Any) -> None:
        self._owner.outlet.tell(event, message, level=level, **details)

    @property
    def temperature_c(self) -> float | None:
        """Of the hottest zone; None where the machine does not tell it."""
        return self._sensors.temperature_c

    @property
    def under_voltage(self) -> bool | None:
        """Whether there is under-voltage, or was a moment ago; None where nothing tells it."""
        return self._episodes.under_voltage

    def report(self) -> Health:
        """Return the health message as it is now."""
        outlet = self._owner.outlet
        load_1m, load_5m, load_15m = machine.loads(self._proc)
        return Health(
            device=outlet.device,
            boot=outlet.boot,
            at=clock.utc(),
            clock_synced=outlet.clock_synced,
            uptime_s=machine.uptime_s(self._proc),
            temperature_c=self.temperature_c,
            under_voltage=self.under_voltage,
            throttled=self._episodes.throttled(time.monotonic()),
            throttled_ever=self._episodes.throttled_ever,
            clocks=machine.clocks(self._sys),
            load_1m=load_1m,
            load_5m=load_5m,
            load_15m=load_15m,
            cores=len(os.sched_getaffinity(0)),
            memory=machine.memory(self._proc),
            disk=machine.disk(state_directory()),
        )
