"""Home Assistant's side of the daemon: announces the device, and tells its states at a low rate."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.identity import client_id
from edge.messages import ONLINE
from edge.states import DeviceState, State
from edge.supervisor import clock
from edge.supervisor.announced import Announced, Memory
from edge.supervisor.discovery import discover
from edge.supervisor.pipeline_state import Figures, PipelineState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.config.device import Device
    from edge.messages import Metrics
    from edge.mqtt.connection import Received
    from edge.supervisor.health import HealthWatch
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline

BIRTH_PAUSE_S = 1.0  # a fleet must not answer in one stroke; at most
# Timers beside those of the pipelines, whose names hold no dot.
BIRTH, DEVICE = ".birth", ".device"
OF_THE_MACHINE = {"temperature", "under_voltage"}  # entities


class HomeAssistant:
    """Outlives reloads: it knows what was announced before, and takes back what is no more."""

    def __init__(self, pipelines: Mapping[str, SupervisedPipeline], health: HealthWatch) -> None:
        """`pipelines` are the daemon's own, as they are at any moment."""
        self._pipelines = pipelines
        self._health = health
        health.voltage_changed = self._tell_device
        self._states: dict[str, PipelineState] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._memory: Memory | None = None
        self._announced: Announced | None = None
        self._settled = True
        self._tells_of_machine = False

    def use(self, device: Device, outlet: Outlet, *, commands: bool) -> None:
        """Announce a device as it is configured now, and remove what it no longer has.

        `commands` says whether it obeys any, so that there is something to steer it with.
        """
        self.close()
        self._loop = asyncio.get_running_loop()
        self._device, self._outlet = device, outlet
        if self._memory is None or self._memory.device != device.device:
            self._memory = Memory(device.device)
        if self._enabled:
            outlet.subscribe(device.home_assistant.birth_topic, self._heard)
        before = self._memory.announced
        self._states = {name: self._state(name) for name in device.pipelines if self._enabled}
        self._announced = self._announce(self._memory, commands) if self._enabled else None
        self._settled = self._memory.announced == self._announced
        still = self._announced.topics if self._announced is not None else []
        for topic in before.topics if before is not None else ():
            if topic not in still:
                outlet.retain(topic, b"")
        self._tells_of_machine = self._enabled and bool(
            OF_THE_MACHINE & self._discovery.components.keys()
        )
        if self._enabled:
            self._tell_all()

    @property
    def _enabled(self) -> bool:
        return self._device.home_assistant.enabled

    def leave(self, device: Device) -> None:
        """Hear that another outlet comes: what another broker, or another name, has is removed."""
        old = self._device
        same = (old.device, old.mqtt.broker) == (device.device, device.mqtt.broker)
        if same or self._announced is None or self._memory is None:
            return
        for topic in self._announced.topics:
            self._outlet.retain(topic, b"")
        if self._outlet.connected:
            self._memory.write(None)

    def close(self) -> None:
        """Say no more; what is retained stays."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._announced is not None:
            self._outlet.unsubscribe(self._device.home_assistant.birth_topic)

    def tend(self) -> None:
        """Forget what was removed, once a broker has heard of it; to be called every second."""
        if not self._settled and self._memory is not None and self._outlet.connected:
            self._memory.write(self._announced)
            self._settled = True

    def answered(
        self, pipeline: str, source: str, predictions: Iterable[Mapping[str, Any]]
    ) -> None:
        """Hear of a result, published or not."""
        if state := self._states.get(pipeline):
            state.answered(source, predictions, now_s=self._loop.time())
            self._tell_when_due(pipeline)

    def measured(self, metrics: Metrics) -> None:
        """Hear of figures."""
        if state := self._states.get(metrics.pipeline):
            state.measured(
                Figures(
                    p99_ms=metrics.latency_recent_ms.p99,
                    fps=metrics.fps,
                    deadline_misses_total=metrics.deadline_misses_total,
                )
            )

    def changed(self) -> None:
        """Hear that the state of a pipeline may be another."""
        for name in self._states:
            self._tell_when_due(name)

    def _state(self, name: str) -> PipelineState:
        """Return what is known of a pipeline, with what it saw where nothing else became of it."""
        options = self._device.home_assistant
        watched = [each for each in options.occupancy if each.pipeline == name]
        now = PipelineState(self._device.pipelines[name], options, watched)
        before = self._states.get(name)
        return before if before is not None and before.is_about_the_same(now) else now

    def _announce(self, memory: Memory, commands: bool) -> Announced:
        self._health.look()
        self._discovery = discover(
            self._device,
            client_id(self._device.device),
            temperature=self._health.temperature_c is not None,
            under_voltage=self._health.under_voltage is not None,
            commands=commands,
        )
        base = f"{self._device.mqtt.base_topic}/{self._device.device}"
        now = Announced(
            components={key: each["platform"] for key, each in self._discovery.components.items()},
            topics=[
                self._discovery.topic,
                *(f"{base}/{name}/{State.topic_name}" for name in self._states),
                f"{base}/{DeviceState.topic_name}",
            ],
        )
        both = now if memory.announced is None else memory.announced | now
        if both != memory.announced:
            memory.write(both)  # before it is announced: nothing must lie there unknown to us
        self._gone = {key: both.components[key] for key in both.components.keys() - now.components}
        self._retain_discovery()
        return now

    def _retain_discovery(self) -> None:
        self._outlet.retain(self._discovery.topic, self._discovery.payload(self._gone))

    def _heard(self, message: Received) -> None:
        """Announce all again when Home Assistant has come up."""
        if message.payload == ONLINE.encode():
            pause_s = random.uniform(0, BIRTH_PAUSE_S)  # noqa: S311
            self._at(BIRTH, self._loop.time() + pause_s, self._born)

    def _born(self) -> None:
        self._retain_discovery()
        self._tell_all()

    def _tell_all(self) -> None:
        for name in self._states:
            self._tell(name)
        self._tell_device()

    def _tell_when_due(self, name: str) -> None:
        state, word, now_s = self._states[name], self._word(name), self._loop.time()
        due_s = state.due_s(word, now_s=now_s)
        if due_s <= now_s:
            self._tell(name)
        else:
            self._at(name, due_s, partial(self._tell_when_due, name))

    def _tell(self, name: str) -> None:
        """Publish a pipeline's state now."""
        state, word, now_s = self._states[name], self._word(name), self._loop.time()
        state.told(word, now_s=now_s)
        self._outlet.send(
            State(
                device=self._outlet.device,
                boot=self._outlet.boot,
                pipeline=name,
                at=clock.utc(),
                clock_synced=self._outlet.clock_synced,
                state=word,
                paused=word == "paused",
                tops=state.tops(now_s),
                occupied=state.occupied(now_s),
                p99_ms=state.figures.p99_ms,
                fps=state.figures.fps,
                deadline_misses_total=state.figures.deadline_misses_total,
            )
        )
        due_s = state.due_s(word, now_s=now_s)
        self._at(name, due_s, partial(self._tell_when_due, name))

    def _word(self, name: str) -> str:
        pipeline = self._pipelines.get(name)
        return "starting" if pipeline is None else pipeline.state

    def _tell_device(self) -> None:
        """Publish the machine's state, again and again, where it has one to tell."""
        if not self._tells_of_machine:
            return
        self._outlet.send(
            DeviceState(
                device=self._outlet.device,
                boot=self._outlet.boot,
                at=clock.utc(),
                clock_synced=self._outlet.clock_synced,
                temperature_c=self._health.temperature_c,
                under_voltage=self._health.under_voltage,
            )
        )
        due_s = self._loop.time() + self._device.home_assistant.interval_s
        self._at(DEVICE, due_s, self._tell_device)

    def _at(self, what: str, when_s: float, call: Callable[[], None]) -> None:
        """Call at a moment, unless the same is to be called earlier."""
        timer = self._timers.get(what)
        if timer is not None:
            if timer.when() <= when_s:
                return
            timer.cancel()
        self._timers[what] = self._loop.call_at(when_s, self._call, what, call)

    def _call(self, what: str, call: Callable[[], None]) -> None:
        del self._timers[what]
        call()
