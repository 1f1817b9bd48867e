"""Remembers what the device felt of late; somebody looks once a second."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from edge.supervisor.sensors import Reading, Sensors

KEPT = 120  # readings


class Felt(NamedTuple):
    """A reading and when it was made."""

    at_ns: int
    """Monotonic."""
    reading: Reading


class SensorLog:
    """The readings of the last two minutes, for all pipelines of the device."""

    def __init__(self, sensors: Sensors | None = None) -> None:
        """Without `sensors` it reads those of this machine."""
        self.sensors = sensors or Sensors()
        self._kept: deque[Felt] = deque(maxlen=KEPT)

    def look(self) -> Reading:
        """Read the sensors now, and remember what they say."""
        reading = self.sensors.read()
        self._kept.append(Felt(time.monotonic_ns(), reading))
        return reading

    @property
    def temperature_c(self) -> float | None:
        """The temperature of the hottest zone, as it was last read."""
        return self._kept[-1].reading.temperature_c if self._kept else None

    def since(self, begin_ns: int) -> list[Felt]:
        """Return the readings since a moment, oldest first, with the last one before it."""
        kept = list(self._kept)
        first = next((at for at, felt in enumerate(kept) if felt.at_ns >= begin_ns), len(kept))
        return kept[max(first - 1, 0) :]
