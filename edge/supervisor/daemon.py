"""The daemon: pipelines side by side, one outlet, figures at intervals, signals in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from edge import __version__
from edge.errors import EdgeError
from edge.identity import new_boot
from edge.spool.spool import TEND_EVERY_S, Spool
from edge.supervisor import clock
from edge.supervisor.black_box import Archive
from edge.supervisor.broker import Brokers
from edge.supervisor.commands import Commands
from edge.supervisor.device_info import device_info
from edge.supervisor.farewell import put_away, summarize
from edge.supervisor.health import HealthWatch
from edge.supervisor.home_assistant import HomeAssistant
from edge.supervisor.idle import WakeUpLimit
from edge.supervisor.intervals import at_intervals
from edge.supervisor.log import log
from edge.supervisor.notify import notify, watchdog_interval_s
from edge.supervisor.obey import Obey
from edge.supervisor.outlet import Outlet
from edge.supervisor.pipeline import SupervisedPipeline
from edge.supervisor.process import dismiss_worker_ahead
from edge.supervisor.status_line import StatusLine
from edge.supervisor.steering import Steering
from edge.supervisor.updates.updates import Updates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge.config.device import Device
    from edge.mqtt.access import Access

STOP_LIMIT_S = 5.0
DELIVERY_LIMIT_S = 15.0


class Daemon:
    """Runs a device until it is stopped, or until all its sources have ended."""

    def __init__(
        self,
        read_config: Callable[[], Device],
        *,
        broker: str | None = None,
        max_seconds: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        """`read_config` reads the YAML, now and at each reload; `broker` overrules the YAML's.

        Raises ConfigError as `read_config` does.
        """
        self._read_config = read_config
        self._max_seconds = max_seconds
        self._max_frames = max_frames
        self._device = read_config()
        self._boot = new_boot()
        self._pipelines: dict[str, SupervisedPipeline] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._all_ended = False
        self._failed = False
        self._reloading: asyncio.Task[str] | None = None
        self._until_the_end = contextlib.ExitStack()
        self._wake_up_limit = contextlib.ExitStack()
        self._brokers = Brokers(broker, self._until_the_end)
        self.changing = asyncio.Lock()
        self._archive = Archive(self._device.recorder)
        self.steering = Steering(self._device.device)
        self.updates = Updates(self._device.device, self)
        self._status = StatusLine(self._pipelines, self.updates.info)
        self._commands = Commands(self._pipelines, Obey(self._pipelines, self))
        self._health = HealthWatch(self, self._archive.sensors)
        self._home = HomeAssistant(self._pipelines, self._health)
        self._sequences: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self._event_sequence = itertools.count()

    async def run(self) -> int:
        """Run to the end; return the exit status: 1 when a pipeline could not do its work.

        Raises ConfigError or SinkError when it cannot even begin.
        """
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        self._loop.add_signal_handler(signal.SIGUSR1, self._write_traces)
        if self._max_seconds is not None:
            self._loop.call_later(self._max_seconds, self._stop.set)
        with self._until_the_end, self._wake_up_limit:
            return await self._run()

    async def _run(self) -> int:
        self._spool = self._new_spool(self._device)
        self._outlet = self._new_outlet(
            self._device, self._brokers.access(self._device), self._spool
        )
        self._outlet.start()
        self._outlet.tell("started", f"edge {__version__} began", version=__version__)
        self._limit_wake_up()
        self._follow_steering()
        self.updates.follow(starting=True)
        self._announce()
        for name in self._device.pipelines:
            self._start(name)
        self.updates.go_on()
        if all(pipeline.state == "paused" for pipeline in self._pipelines.values()):
            dismiss_worker_ahead()
        self._commands.use(self._device, self._outlet)
        self._status.tell(self._outlet, "READY=1")
        chores = [
            self._loop.create_task(chore())
            for chore in (
                self._telemetry,
                self._keep_info,
                self._keep_watchdog,
                self._health.run,
            )
        ]
        tending = self._loop.create_task(self._tend())
        await self._stop.wait()
        return await self._end(chores, tending)

    def _new_spool(self, device: Device) -> Spool:
        spool = Spool(device.device, device.mqtt.spool)
        spool.open()
        return spool

    def _new_outlet(self, device: Device, access: Access, spool: Spool) -> Outlet:
        return Outlet(
            device,
            access=access,
            boot=self._boot,
            spool=spool,
            sequence=self._event_sequence,
            changed=self._changed.set,
            answered=self._home.answered,
        )

    def _limit_wake_up(self) -> None:
        """Ask the kernel for what the configuration says of sleeping cores; nothing else holds."""
        self._wake_up_limit.close()
        limit = WakeUpLimit(self._device.wake_up_limit_us)
        self._wake_up_limit.enter_context(limit)
        if limit.refusal:
            self._outlet.tell("not_permitted", limit.refusal, level=logging.WARNING)

    @property
    def device(self) -> Device:
        """The configuration in force."""
        return self._device

    @property
    def outlet(self) -> Outlet:
        """The way to the broker."""
        return self._outlet

    @property
    def pipelines(self) -> Mapping[str, SupervisedPipeline]:
        """Those that run."""
        return self._pipelines

    def _follow_steering(self) -> None:
        """Forget of what commands have changed what no longer holds by the YAML."""
        if self.steering.trouble:
            self._outlet.tell("steering_lost", self.steering.trouble, level=logging.ERROR)
            self.steering.trouble = ""
        if self.steering.follow(self._device.pipelines) and (why := self.steering.write()):
            log(logging.WARNING, "not_remembered", why)

    def _announce(self) -> None:
        """Tell Home Assistant what there is, and what there is no more."""
        steered = {"pause", "snapshot"} <= set(self._device.commands.allowed)
        self._home.use(self._device, self._outlet, commands=steered)

    def _start(self, name: str, before: SupervisedPipeline | None = None) -> None:
        """Start a pipeline; one that was there `before` with other values is gone on with."""
        written, limit = self._device.pipelines[name], self._max_frames
        if before is not None and limit is not None:
            limit = max(limit - before.keeper.answered, 0)
        pipeline = SupervisedPipeline(
            name,
            self.steering.applied(name, written.as_run),
            self._outlet,
            sequence=self._sequences[name],
            max_frames=limit,
            broker=self._brokers.told(self._device, name),
            archive=self._archive,
            overrides=self.steering.overrides(name, written),
            paused=self.steering.of(name).paused,
            first_frames=before.keeper.next_frames if before is not None else None,
            watch=self.updates.watch(name),
        )
        self._pipelines[name] = pipeline
        self._running[name] = self._loop.create_task(pipeline.run())
        self._running[name].add_done_callback(lambda _task: self._stop_when_all_ended())
        self._changed.set()

    async def restart(self, name: str) -> None:
        """Start a pipeline anew, as the configuration and `steering` have it now."""
        before = self._pipelines[name]
        await before.stop()
        await self._running.pop(name)
        self._outlet.send(before.metrics())
        self._start(name, before)

    def _stop_when_all_ended(self) -> None:
        """End when nothing is left to do: every source has ended, or its pipeline failed."""
        states = [
            "starting"
            if pipeline.state == "failed" and self.updates.will_start_otherwise(pipeline.name)
            else pipeline.state
            for pipeline in self._pipelines.values()
        ]
        if self._reloading is None and all(state in ("ended", "failed") for state in states):
            self._all_ended = True
            self._failed = self._failed or "failed" in states
            self._stop.set()

    async def _end(self, chores: list[asyncio.Task[None]], tending: asyncio.Task[None]) -> int:
        """Stop in order: workers, last figures, what still waits for the broker, offline."""
        self._status.tell(self._outlet, "STOPPING=1")
        if self._reloading is not None:
            await self._reloading
        await self._commands.close()
        await self.updates.close()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*(pipeline.stop() for pipeline in self._pipelines.values()))
        await asyncio.gather(*self._running.values())
        self._home.close()
        self._report()
        self._outlet.tell("stopped", "the daemon ends in order")
        # A job that came to its end has its results to bring home; a stopped daemon must go.
        answered = any(pipeline.keeper.answered for pipeline in self._pipelines.values())
        limit_s = STOP_LIMIT_S if self._outlet.connected else 0
        patient = self._all_ended and answered
        await self._outlet.stop(DELIVERY_LIMIT_S if patient else limit_s)
        tending.cancel()
        lost = await put_away(self._spool, self._outlet.address)
        summarize(self._pipelines)
        return 1 if self._failed or (lost and self._all_ended) else 0

    async def _tend(self) -> None:
        """Look after what waits for the broker, every second."""
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            await self._outlet.tend()
            self._home.tend()

    async def _telemetry(self) -> None:
        """Publish figures every interval."""
        await at_intervals(self._report, lambda: self._device.telemetry.interval_s)

    def _report(self) -> None:
        self._outlet.clock_synced = clock.synced()
        self._outlet.tell_of_certificates()
        self._outlet.send(self._health.report())
        for pipeline in self._pipelines.values():
            metrics = pipeline.metrics()
            self._outlet.send(metrics)
            self._home.measured(metrics)
            self._status.measured[pipeline.name] = metrics
        self._status.tell(self._outlet)

    async def _keep_info(self) -> None:
        """Publish the info message whenever something in it has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._outlet.send(device_info(self._outlet, self._pipelines, self.updates.info))
            self._home.changed()
            self._status.tell(self._outlet)
            self._stop_when_all_ended()

    async def _keep_watchdog(self) -> None:
        """Tell systemd that we live; it acts when this loop stalls."""
        interval_s = watchdog_interval_s()
        while interval_s is not None:
            notify("WATCHDOG=1")
            await asyncio.sleep(interval_s)

    def _write_traces(self) -> None:
        """Write what the flight recorders hold, because somebody asked for it."""
        for pipeline in self._pipelines.values():
            pipeline.black_box.write()

    def _reload_soon(self) -> asyncio.Task[str]:
        if self._reloading is None:
            self._reloading = self._loop.create_task(self._reload())
        return self._reloading

    async def reload(self) -> str:
        """Read the YAML again; return why it was not taken, empty where it was."""
        return await asyncio.shield(self._reload_soon())

    async def _reload(self) -> str:
        """Take the YAML as it is now; what did not change in it runs on undisturbed.

        Returns why it cannot be taken, empty where it was.
        """
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            device = self._read_config()
            outlet = self._outlet_for(device)
        except EdgeError as error:
            self._status.refused = str(error)
            self._outlet.tell(
                "reload_failed",
                f"the old configuration stays in force: {error}",
                level=logging.ERROR,
            )
            return str(error)
        else:
            self._status.refused = ""
            async with self.changing:
                await self._change_to(device, outlet)
            return ""
        finally:
            self._reloading = None
            self._status.tell(self._outlet, "READY=1")
            self._stop_when_all_ended()

    def _outlet_for(self, device: Device) -> Outlet:
        """Return the outlet that fits a configuration: the present one where nothing changed.

        Passwords and certificates may have changed where the YAML did not.
        """
        old, access = self._device, self._brokers.access(device)
        same = (device.mqtt, device.sinks, device.device) == (old.mqtt, old.sinks, old.device)
        if same and access == self._outlet.access:
            return self._outlet
        renamed = device.device != old.device
        spool = self._new_spool(device) if renamed else self._spool
        return self._new_outlet(device, access, spool)

    async def _change_to(self, device: Device, outlet: Outlet) -> None:
        if device.device != self._device.device:
            self.steering = Steering(device.device)
            self.updates.rename(device.device)
        self._device = device
        self._follow_steering()
        self.updates.follow()
        gone = [name for name, pipeline in self._pipelines.items() if not self._as_is(pipeline)]
        await asyncio.gather(*(self._pipelines[name].stop() for name in gone))
        for name in gone:
            await self._running.pop(name)
            self._outlet.send(self._pipelines.pop(name).metrics())
        if outlet is not self._outlet:
            old, self._outlet = self._outlet, outlet
            for pipeline in self._pipelines.values():
                pipeline.outlet = outlet  # what is answered while the old one ends waits there
            self._home.leave(device)
            await old.stop(STOP_LIMIT_S)
            if outlet.spool is not self._spool:
                outlet.spool.take_over(self._spool)
                await self._spool.close()
                self._spool = outlet.spool
            outlet.start()
        self._spool.bounds = device.mqtt.spool
        self._limit_wake_up()
        self._archive.bounds = device.recorder
        added = [name for name in device.pipelines if name not in self._pipelines]
        for name in added:
            self._start(name)
        self._commands.use(device, outlet)
        self._announce()
        self._changed.set()
        kept = [name for name in self._pipelines if name not in added]
        self._outlet.tell(
            "reloaded", "the new configuration is in force", kept=kept, started=added, stopped=gone
        )

    def _as_is(self, pipeline: SupervisedPipeline) -> bool:
        """Whether a pipeline can run on as it is under the configuration in force."""
        written = self._device.pipelines.get(pipeline.name)
        return (
            written is not None
            and self.steering.applied(pipeline.name, written.as_run) == pipeline.configured
            and self.steering.of(pipeline.name).paused == (pipeline.state == "paused")
            and pipeline.state != "failed"
            and pipeline.keeper.broker == self._brokers.told(self._device, pipeline.name)
        )
