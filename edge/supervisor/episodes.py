"""When the machine begins to suffer and when it ends: under-voltage, throttling, heat.

Each is told once when it begins and once when it has been over for a while: a supply that gives
too little does so many times a minute.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge.supervisor.sensors import UNDER_VOLTAGE

if TYPE_CHECKING:
    from edge.event_names import EventName
    from edge.supervisor.sensors import Reading

QUIET_S = 30.0  # so long without it, and it is over
COOLER_C = 5.0  # than the limit, and it is no longer too hot


class Tell(Protocol):
    """Publishes an event."""

    def __call__(self, event: EventName, message: str, *, level: int, **details: Any) -> None:
        """`details` are for programs."""


class Episode:
    """Whether something goes on, which is seen now and then while it does."""

    def __init__(self) -> None:
        self._began_s = self._seen_s = 0.0
        self.going_on = False

    def follow(self, seen: bool, now_s: float) -> Literal["begins", "ends"] | None:
        """Take in whether it is seen now; return what that means, where it means something."""
        if seen:
            self._seen_s = now_s
            if self.going_on:
                return None
            self._began_s, self.going_on = now_s, True
            return "begins"
        if self.going_on and now_s - self._seen_s >= QUIET_S:
            self.going_on = False
            return "ends"
        return None

    @property
    def lasted_s(self) -> float:
        """From when it was first seen to when it was last."""
        return round(self._seen_s - self._began_s, 1)


class Episodes:
    """Takes a reading each second and tells what begins and ends with it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._voltage, self._throttling, self._heat = Episode(), Episode(), Episode()
        self._seen_s: dict[str, float] = {}
        self._happened: set[str] | None = None
        self._voltage_known = False

    @property
    def under_voltage(self) -> bool | None:
        """Whether there is under-voltage, or was a moment ago; None where nothing tells it."""
        return self._voltage.going_on if self._voltage_known else None

    @property
    def throttled_ever(self) -> list[str] | None:
        """What has held the cores back, ever as far as is known; None where nothing tells it."""
        return None if self._happened is None else list(self._seen_s)

    def throttled(self, now_s: float) -> list[str] | None:
        """Return what holds the cores back, or did a moment ago; None where nothing tells it."""
        if self._happened is None:
            return None
        return [word for word, seen_s in self._seen_s.items() if now_s - seen_s < QUIET_S]

    def take(self, reading: Reading, *, limit_c: float | None, now_s: float) -> None:
        """Take in a reading; above `limit_c` it is too hot."""
        words = self._words_of(reading)
        self._seen_s |= dict.fromkeys(words, now_s)
        self._follow_voltage(words, now_s)
        self._follow_throttling(words, reading, now_s)
        self._follow_heat(reading.temperature_c, limit_c, now_s)

    def _words_of(self, reading: Reading) -> list[str]:
        """Return what holds the cores back now, and what did since the reading before."""
        words = list(reading.throttled)
        if reading.happened is not None:
            happened = set(reading.happened)
            if self._happened is None:  # before our time
                self._seen_s |= dict.fromkeys(reading.happened, -QUIET_S)
            else:
                words += sorted(happened - self._happened)
            self._happened = happened
        if reading.under_voltage:
            words.append(UNDER_VOLTAGE)
        self._voltage_known |= reading.happened is not None or reading.under_voltage is not None
        return list(dict.fromkeys(words))

    def _follow_voltage(self, words: list[str], now_s: float) -> None:
        means = self._voltage.follow(UNDER_VOLTAGE in words, now_s)
        if means == "begins":
            self._tell(
                "under_voltage",
                "the power supply gives too little: the firmware slows the cores down, and disk "
                "and USB may fail; use the supply made for this machine, and a short cable",
                level=logging.WARNING,
            )
        elif means == "ends":
            self._over("voltage_back", "the voltage is as it should be", self._voltage)

    def _follow_throttling(self, words: list[str], reading: Reading, now_s: float) -> None:
        slowed = [word for word in words if word != UNDER_VOLTAGE]
        means = self._throttling.follow(bool(slowed), now_s)
        if means == "begins":
            degrees = reading.temperature_c
            at = "" if degrees is None else f" at {degrees:.1f} C"
            self._tell(
                "throttling_began",
                f"the firmware slows the cores down{at}: {', '.join(slowed)}",
                level=logging.WARNING,
                throttled=slowed,
                temperature_c=degrees,
                clock_mhz=list(reading.clock_mhz),
            )
        elif means == "ends":
            self._over("throttling_ended", "the cores run as fast as they can", self._throttling)

    def _follow_heat(self, degrees: float | None, limit_c: float | None, now_s: float) -> None:
        hot = False
        if degrees is not None and limit_c is not None:
            hot = degrees > limit_c - COOLER_C * self._heat.going_on
        means = self._heat.follow(hot, now_s)
        if means == "begins":
            self._tell(
                "too_hot",
                f"the machine has {degrees:.1f} C, more than the {limit_c:g} C of "
                "`telemetry.max_temperature_c`",
                level=logging.WARNING,
                temperature_c=degrees,
            )
        elif means == "ends":
            self._over("cooled_down", "the machine has cooled down", self._heat)

    def _over(self, event: EventName, message: str, episode: Episode) -> None:
        lasted_s = episode.lasted_s
        after = f", after {lasted_s:g} s" if lasted_s else ""
        self._tell(event, f"{message}{after}", level=logging.INFO, lasted_s=lasted_s)
