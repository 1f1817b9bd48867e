"""All devices that are heard of, as far as memory is bounded: who is there, and what each says."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edge.fleet.pool import Pool
from edge.fleet.reading import (
    LONGEST_NAME,
    MOST_BYTES,
    About,
    Happening,
    Machine,
    Over,
    Report,
    read_event,
    read_health,
    read_info,
    read_report,
)
from edge.messages import OFFLINE, ONLINE
from edge.mqtt.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_DEVICES = 5_000
MOST_PIPELINES = 10_000  # of all devices
MOST_PIPELINES_EACH = 64
MOST_BOOTS = 2 * MOST_PIPELINES  # that repeated events are told from
KEPT_EVENTS = 20  # of each device
PATIENCE_S = 15.0  # the least that a device may be silent and still count
FIRST_REPORT_S = 60.0  # how long one may be online without any report: its interval is not known
MISSED_REPORTS = 3  # so many intervals without a report are silence


OF_DEVICES = ("status", "info", "events", "health")  # last levels of topics


class DeviceKey(NamedTuple):
    """Which device: names are its own only under their base topic. As they came, not harmless."""

    base: str
    device: str


class PipelineKey(NamedTuple):
    """Which pipeline of which device."""

    device: DeviceKey
    pipeline: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline said last, and when."""

    report: Report
    at_s: float
    patience_s: float
    """How long the report holds: as the last two windows tell; a change of rung ends one early."""

    def fresh(self, now_s: float) -> bool:
        """Whether it has said something lately."""
        return now_s - self.at_s <= self.patience_s


@dataclass(slots=True)
class Device:
    """One device."""

    first_s: float
    """When it was heard of first."""
    seen_s: float | None = None
    """When it was heard itself; what the broker had kept of it does not count."""
    status: str | None = None
    version: str | None = None
    machine: Machine | None = None
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    """Of its pipelines, as its info message has them."""
    events: deque[Happening] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    """Newest last."""


class Fleet:
    """Takes in every message and never raises; what it cannot use is counted in `ignored`."""

    def __init__(self, bases: Iterable[str], over: Over) -> None:
        """`bases` are the base topics, `over` the stretch of time that latencies are about."""
        self.bases = sorted(dict.fromkeys(bases), key=len, reverse=True)
        self.over = over
        self.pool = Pool()
        self.devices: dict[DeviceKey, Device] = {}
        self.ignored: Counter[str] = Counter()
        """Messages, by why: `malformed`, `too_long`, `beyond_devices`, `beyond_pipelines`."""
        self._pipelines = 0
        self._repeats = Repeats(MOST_BOOTS)

    @property
    def topics(self) -> list[tuple[str, int]]:
        """What to subscribe to, with the QoS: all but the predictions.

        Statuses come first, so that the devices are there before what they say. All that is
        retained comes at once, and with QoS 1 a broker keeps but so many messages for a client
        (mosquitto: 1,000) and drops the others.
        """
        kinds = [("+/status", 0), ("+/info", 0), ("+/events", 1), ("+/+/events", 1)]
        kinds += [("+/health", 0), ("+/+/metrics", 0)]
        return [(f"{base}/{kind}", qos) for kind, qos in kinds for base in reversed(self.bases)]

    @property
    def awaited(self) -> int:
        """How many devices are online and have not reported of all their pipelines yet."""
        return sum(
            device.status == ONLINE
            and (not device.pipelines or not device.states.keys() <= device.pipelines.keys())
            for device in self.devices.values()
        )

    def take(self, topic: str, payload: bytes, *, retained: bool, now_s: float) -> None:
        """Take in a message; `now_s` is a time that never goes back."""
        if len(payload) > MOST_BYTES:
            self.ignored["too_long"] += 1
            return
        try:
            self._take(topic, payload, retained=retained, now_s=now_s)
        except ValueError:
            self.ignored["malformed"] += 1

    def _take(self, topic: str, payload: bytes, *, retained: bool, now_s: float) -> None:
        key, pipeline, kind = self._address(topic)
        if retained and kind in ("metrics", "health", "events"):
            raise ValueError("nobody knows how old it is: only status and info are retained")
        if kind == "status":
            status = _read_status(payload)
            if status is None:
                self._forget(key)
            elif device := self._heard(key, now_s, itself=not retained):
                device.status = status
        elif kind == "info":
            about = read_info(payload)
            if device := self._heard(key, now_s, itself=not retained):
                self._take_info(key, device, about)
        elif kind == "health":
            machine = read_health(payload)
            if device := self._heard(key, now_s):
                device.machine = machine
        elif kind == "events":
            event = read_event(payload)
            if device := self._heard(key, now_s):
                self._take_event(key, device, event)
        elif pipeline is not None:
            report, hdr = read_report(payload, self.over)
            if device := self._heard(key, now_s):
                self._take_report(PipelineKey(key, pipeline), device, report, hdr, now_s)

    def _address(self, topic: str) -> tuple[DeviceKey, str | None, str]:
        """Return device, pipeline and kind of message."""
        for base in self.bases:
            if not topic.startswith(f"{base}/"):
                continue
            levels = topic[len(base) + 1 :].split("/")
            if len(levels) == 2 and levels[1] in OF_DEVICES:  # noqa: PLR2004
                device, kind, pipeline = levels[0], levels[1], None
            elif len(levels) == 3 and levels[2] in ("metrics", "events"):  # noqa: PLR2004
                device, pipeline, kind = levels
            else:
                continue
            if any(len(name) > LONGEST_NAME for name in levels) or not all(levels):
                raise ValueError("no name is empty, or so long")
            return DeviceKey(base, device), pipeline, kind
        raise ValueError("not one of the topics")

    def _heard(self, key: DeviceKey, now_s: float, *, itself: bool = True) -> Device | None:
        """Return the device, known or new; None where there is no room for another."""
        device = self.devices.get(key)
        if device is None:
            if len(self.devices) >= MOST_DEVICES:
                self.ignored["beyond_devices"] += 1
                return None
            device = self.devices[key] = Device(first_s=now_s)
        if itself:
            device.seen_s = now_s
        return device

    def _forget(self, key: DeviceKey) -> None:
        device = self.devices.pop(key, None)
        for name in device.pipelines if device is not None else ():
            self._pipelines -= 1
            self.pool.drop(PipelineKey(key, name))

    def _take_info(self, key: DeviceKey, device: Device, about: About) -> None:
        device.version = about.version
        if len(about.states) > MOST_PIPELINES_EACH:
            self.ignored["beyond_pipelines"] += 1
        device.states = dict(itertools.islice(about.states.items(), MOST_PIPELINES_EACH))
        for name in [name for name in device.pipelines if name not in about.states]:
            del device.pipelines[name]  # a reload has removed it
            self._pipelines -= 1
            self.pool.drop(PipelineKey(key, name))

    def _take_report(
        self, key: PipelineKey, device: Device, report: Report, hdr: str | None, now_s: float
    ) -> None:
        pipeline = device.pipelines.get(key.pipeline)
        if pipeline is None:
            full = self._pipelines >= MOST_PIPELINES
            if full or len(device.pipelines) >= MOST_PIPELINES_EACH:
                self.ignored["beyond_pipelines"] += 1
                return
            self._pipelines += 1
        windows = [each.window_s or 0 for each in (report, pipeline and pipeline.report) if each]
        patience_s = max(MISSED_REPORTS * max(windows), PATIENCE_S)
        device.pipelines[key.pipeline] = Pipeline(report, now_s, patience_s)
        if hdr is None:
            self.pool.drop(key)
        else:
            self.pool.put(key, hdr)

    def _take_event(self, key: DeviceKey, device: Device, event: Happening) -> None:
        where = "/".join(key)
        number = event.sequence
        if number is None or not self._repeats.seen(where, event.pipeline, event.boot, number):
            device.events.append(event)


def _read_status(payload: bytes) -> str | None:
    """Return the word; None for the empty message, which removes what is retained."""
    word = payload[: len(OFFLINE) + 1].decode("ascii", "replace")
    if word not in (ONLINE, OFFLINE, ""):
        raise ValueError("a status is `online` or `offline`")
    return word or None
