"""When a broker that is away is asked for again: soon at first, then ever more rarely."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paho.mqtt.client import Client

FIRST_S = (0.5, 1.5)  # by chance: a fleet that lost its broker must not come back in one stroke
LONGEST_S = 30.0
SHARE = 0.5


class Pauses:
    """The pauses of an outage: each about half as long as it has lasted so far.

    Doubling them, as paho does, makes the last one as long as the whole outage.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None

    def is_there(self) -> None:
        """Hear that the broker has taken us: the outage is over."""
        self._since_s = None

    def space_out(self, client: Client) -> None:
        """Have a client wait so long before it tries again; to be called in its own thread."""
        pause_s: Any = self.next_s()
        client.reconnect_delay_set(pause_s, pause_s)

    def next_s(self) -> float:
        """Return how long to wait from now on, in seconds; the first call begins the outage."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        longer = max(SHARE * (now_s - self._since_s), 1.0)
        return min(longer * random.uniform(*FIRST_S), LONGEST_S)  # noqa: S311
