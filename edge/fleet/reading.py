"""Payloads that anybody may have sent become figures, or ValueError: nothing else ever."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from edge.fleet.text import harmless
from edge.health import HELD_BACK_BY

MOST_BYTES = 1 << 18
"""Of a payload; the metrics of a pipeline with 20 busy sources have half of it."""
MOST_DIGITS = 19  # of an integer: 2^63 has as many
MOST_COUNT = 1 << 53
LONGEST_NAME = 128
LONGEST_MESSAGE = 300
LONGEST_HISTOGRAM = 1 << 16
"""Characters; a histogram of a million very scattered latencies has 6,000."""
MOST_INFO_PIPELINES = 1000

Over = Literal["window", "recent", "total"]
LATENCY_FIELD: dict[Over, str] = {
    "window": "latency_ms",
    "recent": "latency_recent_ms",
    "total": "latency_total_ms",
}
LOSSES = ("mailbox", "deadline", "source")
"""Drops that nobody asked for: `skipped` ones are as configured (`every`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One metrics message. None is what the device does not tell."""

    boot: str | None
    window_s: float | None
    fps: float | None
    misses: int | None
    """In the window; `_total` ones since the pipeline was configured."""
    misses_total: int | None
    dropped: int | None
    dropped_total: int | None
    temperature_c: float | None
    rung: int | None
    rung_name: str | None
    waiting: int | None
    """Messages in the device's memory; this and the next two are of the whole device."""
    spooled: int | None
    undelivered_total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a health message says of the machine."""

    held_back_by: str | None
    """All that holds its cores back; empty where nothing does."""
    load_1m: float | None
    total_bytes: int | None
    """Of its memory."""
    available_bytes: int | None
    disk_free_bytes: int | None
    uptime_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event."""

    boot: str
    pipeline: str | None
    sequence: int | None
    at: str
    event: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the info message says."""

    version: str | None
    states: dict[str, str]
    """Of each pipeline the device has."""


def read_report(payload: bytes, over: Over) -> tuple[Report, str | None]:
    """Return the figures, and the histogram of latencies over that stretch of time as it came.

    Raises ValueError for anything that no device of ours says.
    """
    fields = _Fields(_parse(payload))
    latency = fields.part(LATENCY_FIELD[over])
    hdr = None if latency is None else latency.text("hdr", LONGEST_HISTOGRAM, whole=True)
    dropped, dropped_total = fields.part("dropped"), fields.part("dropped_total")
    report = Report(
        boot=fields.text("boot", LONGEST_NAME),
        window_s=fields.number("window_s", 0, 1e6),
        fps=fields.number("fps", 0, 1e9),
        misses=fields.count("deadline_misses"),
        misses_total=fields.count("deadline_misses_total"),
        dropped=None if dropped is None else dropped.sum(LOSSES),
        dropped_total=None if dropped_total is None else dropped_total.sum(LOSSES),
        temperature_c=fields.number("temperature_c", -273.15, 1e4),
        rung=fields.count("rung"),
        rung_name=fields.text("rung_name", LONGEST_NAME),
        waiting=fields.count("waiting"),
        spooled=fields.count("spooled"),
        undelivered_total=fields.count("undelivered_total"),
    )
    return report, hdr


def read_health(payload: bytes) -> Machine:
    """Return how the machine is. Raises ValueError for anything that no device of ours says."""
    fields = _Fields(_parse(payload))
    memory, disk = fields.part("memory"), fields.part("disk")
    return Machine(
        held_back_by=fields.words("throttled", HELD_BACK_BY),
        load_1m=fields.number("load_1m", 0, 1e6),
        total_bytes=None if memory is None else memory.count("total_bytes"),
        available_bytes=None if memory is None else memory.count("available_bytes"),
        disk_free_bytes=None if disk is None else disk.count("free_bytes"),
        uptime_s=fields.number("uptime_s", 0, 1e11),
    )


def read_event(payload: bytes) -> Happening:
    """Return an event. Raises ValueError for anything that no device of ours says."""
    fields = _Fields(_parse(payload))
    return Happening(
        boot=fields.text("boot", LONGEST_NAME) or "",
        pipeline=fields.text("pipeline", LONGEST_NAME),
        sequence=fields.count("sequence"),
        at=fields.text("at", LONGEST_NAME) or "",
        event=fields.text("event", LONGEST_NAME) or "",
        message=fields.text("message", LONGEST_MESSAGE) or "",
    )


def read_info(payload: bytes) -> About:
    """Return who the device is. Raises ValueError for anything that no device of ours says."""
    fields = _Fields(_parse(payload))
    pipelines = fields.part("pipelines")
    found = {} if pipelines is None else pipelines.parts(MOST_INFO_PIPELINES)
    states = {name: each.text("state", LONGEST_NAME) or "" for name, each in found.items()}
    return About(version=fields.text("version", LONGEST_NAME), states=states)


class _Fields:
    """One JSON object, asked for its fields by the type they must have; absent or null is None."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"an object was expected, not {type(value).__name__}")  # noqa: TRY004
        self._fields: dict[str, Any] = value

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"`{name}` is no number")  # noqa: TRY004
        if not low <= value <= high:  # an infinity is not, nor NaN
            raise ValueError(f"`{name}` is out of all bounds")
        return float(value)

    def count(self, name: str) -> int | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_COUNT:
            raise ValueError(f"`{name}` is no count")
        return value

    def text(self, name: str, most: int, *, whole: bool = False) -> str | None:
        """Return at most so many characters, harmless; a `whole` text as it is, or not at all."""
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"`{name}` is no text")  # noqa: TRY004
        if not whole:
            return harmless(value, most)
        if len(value) > most:
            raise ValueError(f"`{name}` is longer than {most} characters")
        return value

    def words(self, name: str, known: tuple[str, ...]) -> str | None:
        """Return the words known to us of a list, with commas."""
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise ValueError(f"`{name}` is no list")  # noqa: TRY004
        return ", ".join(word for word in known if word in value)

    def part(self, name: str) -> _Fields | None:
        value = self._fields.get(name)
        return None if value is None else _Fields(value)

    def parts(self, most: int) -> dict[str, _Fields]:
        if len(self._fields) > most:
            raise ValueError(f"more than {most} of them")
        return {name: _Fields(value) for name, value in self._fields.items()}

    def sum(self, names: tuple[str, ...]) -> int:
        return sum(self.count(name) or 0 for name in names)


def _parse(payload: bytes) -> Any:
    if len(payload) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES} bytes")
    try:
        return json.loads(payload, parse_int=_integer, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.inf


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
