"""What a device says of its present state, seldom enough for those who keep all they hear."""

from dataclasses import dataclass
from typing import ClassVar

from edge.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The best prediction of a source's newest result."""

    label: str | None
    """Null when nothing reached the threshold, and when no result came for a while."""
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Message):
    """`BASE/DEVICE/PIPELINE/state`, retained: the pipeline now, where Home Assistant is told of it.

    Published when a top label, an occupancy or the pipeline's state changes, at most every
    `min_interval_s`, and every `interval_s` in any case.
    """

    topic_name: ClassVar[str] = "state"
    retain: ClassVar[bool] = True

    pipeline: str
    at: str
    clock_synced: bool
    state: str
    """As in the info message: `running`, `failed`, …"""
    paused: bool
    tops: dict[str, Top]
    """The best prediction of each source, by the source's name."""
    occupied: dict[str, bool]
    """Each label watched: whether one of the sources saw it within its `off_delay_s`."""
    p99_ms: float | None
    """Capture to result over the last five minutes, as in the metrics; null below 100 samples."""
    fps: float | None
    """Of the last metrics; null before the first. It and P99 change every `interval_s` only."""
    deadline_misses_total: int | None
    """Since the pipeline was configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState(Message):
    """`BASE/DEVICE/state`, retained: the machine now, every `interval_s` and with the voltage."""

    topic_name: ClassVar[str] = "state"
    retain: ClassVar[bool] = True

    at: str
    clock_synced: bool
    temperature_c: float | None
    """Of the hottest zone; null where the machine does not tell it."""
    under_voltage: bool | None
    """Whether the power supply gives too little, as in the health message."""
