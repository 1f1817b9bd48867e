"""Results that came before: with QoS 1 a bad link delivers some of them twice."""

from __future__ import annotations

from collections import OrderedDict

MOST_BOOTS = 100_000


class Repeats:
    """Tells a message that came before from a new one.

    A device numbers what it publishes without gaps within its boot, and sends it in order; so
    a number that is not above the last one is a repeat. Bounded: of too many boots the one
    heard last longest ago is forgotten.
    """

    def __init__(self, most: int = MOST_BOOTS) -> None:
        self._most = most
        self._last: OrderedDict[tuple[str, str | None, str], int] = OrderedDict()

    def seen(self, device: str, pipeline: str | None, boot: str, sequence: int) -> bool:
        """Say whether this message came before, and remember it."""
        key = (device, pipeline, boot)
        if sequence <= self._last.get(key, -1):
            return True
        self._last[key] = sequence
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        return False
