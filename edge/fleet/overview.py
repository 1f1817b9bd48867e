"""What a fleet's state comes to: a row for each device and pipeline, and one for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edge.fleet.fleet import FIRST_REPORT_S, Device, DeviceKey, Fleet, PipelineKey
from edge.fleet.reading import LONGEST_NAME
from edge.fleet.text import harmless
from edge.messages import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.fleet.reading import Report
    from edge.latency.histogram import Histogram

STATES = ("online", "failed", "silent", "offline")
Number = TypeVar("Number", int, float)
DECODING_S = 0.5  # of a look at most; what is left over has its turn at the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Capture to result in milliseconds; null where the sample is too small to say."""

    count: int
    p50: float | None
    p99: float | None
    p99_9: float | None
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A device or one of its pipelines; null is what is not known of it."""

    name: str
    state: str
    """A device's is one of STATES: `failed` when a pipeline is, `silent` when it says online and
    has not reported for three of its intervals. A pipeline's is as the info message has it."""
    current: bool
    """Whether the figures are of now, and count in the fleet's; else they are its last ones."""
    fps: float | None
    latency_ms: Latency
    misses: int | None
    """In the last window; `_total` ones since each pipeline was configured."""
    misses_total: int | None
    dropped: int | None
    """Without those that `every` skips."""
    dropped_total: int | None
    temperature_c: float | None
    held_back_by: str | None
    """All that holds the machine's cores back; empty where nothing does."""
    rung: int | None
    """The lowest on the ladder that any of its pipelines is on."""
    rung_name: str | None
    spooled: int | None
    """Messages on the device's disk, because the broker was away."""
    waiting: int | None
    """Messages in the device's memory that the broker has not acknowledged."""
    undelivered_total: int | None
    seen_s: float | None
    """Seconds since it was heard; null when not since we listen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The fleet: sums and pooled samples of all devices whose figures are current."""

    devices: int
    states: dict[str, int]
    current: int
    """Devices that the figures are of."""
    fps: float
    latency_ms: Latency
    misses: int
    misses_total: int
    dropped: int
    dropped_total: int
    hottest_c: float | None
    spooled: int | None
    waiting: int | None
    undelivered_total: int
    histograms_left_out: int
    histograms_waiting: int
    """Histograms that came and are not decoded yet: percentiles lag behind while it is not 0."""
    ignored: dict[str, int]
    """Messages that are not in any figure, by why."""


class Overview:
    """Looks at a fleet again and again; what has not changed is not computed anew."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._known: dict[DeviceKey, tuple[list[int], Latency]] = {}

    def look(
        self, now_s: float, *, decoding_s: float = DECODING_S
    ) -> tuple[Whole, dict[DeviceKey, Row]]:
        """Return the fleet and its devices, in no order; decode for at most so long."""
        pool, devices = self.fleet.pool, self.fleet.devices
        waiting = pool.settle(at_most_s=decoding_s)
        for key in self._known.keys() - devices.keys():
            del self._known[key]
        rows: dict[DeviceKey, Row] = {}
        counted: list[PipelineKey] = []
        for key, device in devices.items():
            names, current = _told(device, now_s)
            keys = [PipelineKey(key, name) for name in names]
            rows[key] = self._device(key, device, keys, current=current, now_s=now_s)
            if current:
                counted += keys
        now = [row for row in rows.values() if row.current]
        whole = Whole(
            devices=len(rows),
            states=dict.fromkeys(STATES, 0) | Counter(row.state for row in rows.values()),
            current=len(now),
            fps=_sum(row.fps for row in now) or 0.0,
            latency_ms=_latency(pool.merged(counted)),
            misses=_sum(row.misses for row in now) or 0,
            misses_total=_sum(row.misses_total for row in now) or 0,
            dropped=_sum(row.dropped for row in now) or 0,
            dropped_total=_sum(row.dropped_total for row in now) or 0,
            hottest_c=_most(row.temperature_c for row in now),
            spooled=_sum(row.spooled for row in now),
            waiting=_sum(row.waiting for row in now),
            undelivered_total=_sum(row.undelivered_total for row in now) or 0,
            histograms_left_out=len(pool.left_out),
            histograms_waiting=waiting,
            ignored=dict(self.fleet.ignored),
        )
        return whole, rows

    def pipelines(self, key: DeviceKey, now_s: float) -> list[Row]:
        """Return a row for each pipeline of a device that the fleet has, by name."""
        device = self.fleet.devices[key]
        rows = []
        for name in sorted(device.pipelines.keys() | device.states.keys()):
            pipeline = device.pipelines.get(name)
            here = [] if pipeline is None else [pipeline]
            current = device.status != OFFLINE and any(each.fresh(now_s) for each in here)
            latency = _latency(self.fleet.pool.merged([PipelineKey(key, name)]))
            row = _row(
                name=harmless(name, LONGEST_NAME),
                state=device.states.get(name, "?"),
                current=current,
                latency=latency,
                held_back_by=None,
                reports=[each.report for each in here],
                seen_s=now_s - pipeline.at_s if pipeline is not None else None,
            )
            rows.append(row)
        return rows

    def _device(
        self,
        key: DeviceKey,
        device: Device,
        keys: list[PipelineKey],
        *,
        current: bool,
        now_s: float,
    ) -> Row:
        versions = [self.fleet.pool.version(each) for each in keys]
        known = self._known.get(key)
        if known is None or known[0] != versions:
            known = self._known[key] = (versions, _latency(self.fleet.pool.merged(keys)))
        name = key.device if len(self.fleet.bases) == 1 else "/".join(key)
        return _row(
            name=harmless(name, LONGEST_NAME),
            state=_state(device, current=current, now_s=now_s),
            current=current,
            latency=known[1],
            held_back_by=None if device.machine is None else device.machine.held_back_by,
            reports=[device.pipelines[each.pipeline].report for each in keys],
            seen_s=None if device.seen_s is None else now_s - device.seen_s,
        )


def _told(device: Device, now_s: float) -> tuple[list[str], bool]:
    """Return the pipelines that a device's row is of, and whether they are of now."""
    fresh = [name for name, each in device.pipelines.items() if each.fresh(now_s)]
    if fresh and device.status != OFFLINE:
        return fresh, True
    return list(device.pipelines), False


def _state(device: Device, *, current: bool, now_s: float) -> str:
    if device.status == OFFLINE:
        return "offline"
    if "failed" in device.states.values():
        return "failed"
    young = not device.pipelines and now_s - device.first_s <= FIRST_REPORT_S
    return "online" if current or young else "silent"


def _row(
    *,
    name: str,
    state: str,
    current: bool,
    latency: Latency,
    held_back_by: str | None,
    reports: Sequence[Report],
    seen_s: float | None,
) -> Row:
    lowest = max(reports, key=lambda each: each.rung or 0, default=None)
    return Row(
        name=name,
        state=state,
        current=current,
        fps=_sum(each.fps for each in reports),
        latency_ms=latency,
        misses=_sum(each.misses for each in reports),
        misses_total=_sum(each.misses_total for each in reports),
        dropped=_sum(each.dropped for each in reports),
        dropped_total=_sum(each.dropped_total for each in reports),
        temperature_c=_most(each.temperature_c for each in reports),
        held_back_by=held_back_by,
        rung=None if lowest is None else lowest.rung,
        rung_name=None if lowest is None else lowest.rung_name,
        spooled=_most(each.spooled for each in reports),
        waiting=_most(each.waiting for each in reports),
        undelivered_total=_most(each.undelivered_total for each in reports),
        seen_s=None if seen_s is None else round(seen_s, 1),
    )


def _latency(histogram: Histogram) -> Latency:
    count = histogram.count
    p50, p99, p99_9 = (histogram.supported_percentile(q) for q in (50, 99, 99.9))
    return Latency(
        count=count,
        p50=_milliseconds(p50),
        p99=_milliseconds(p99),
        p99_9=_milliseconds(p99_9),
        max=_milliseconds(histogram.max if count else None),
    )


def _milliseconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _sum(values: Iterable[Number | None]) -> Number | None:
    """Return the sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def _most(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)
