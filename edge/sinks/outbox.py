"""Messages on their way to the broker, in order, bounded. The on-disk spool will stand here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 20  # handed to the client and not acknowledged; brokers allow 20 by default


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message that must arrive."""

    topic: str
    payload: bytes
    acknowledged: Callable[[], None] | None = None


class Outbox:
    """Hands messages on in order, a few at a time; the others wait here, the oldest go first.

    What is in flight is the client's, which sends it again after a reconnect. It all lives
    in memory: `limit` bounds how many messages wait, and past it the oldest is given up.
    """

    def __init__(self, hand_on: Callable[[Outgoing], int | None], *, limit: int) -> None:
        """`hand_on` gives a message to the client: its id, or None when it takes none now."""
        self._hand_on = hand_on
        self._limit = limit
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._sent_again: set[int] = set()
        self.given_up = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def put(self, message: Outgoing) -> None:
        """Take a message in, and hand on what can be."""
        self._waiting.append(message)
        self.push()
        while len(self._waiting) > self._limit:
            self._waiting.popleft()
            self.given_up += 1

    def push(self) -> None:
        """Hand on as many as may be in flight, behind what is being sent again."""
        while self._waiting and not self._sent_again and len(self._in_flight) < IN_FLIGHT:
            number = self._hand_on(self._waiting[0])
            if number is None:
                return
            self._in_flight[number] = self._waiting.popleft()

    def acknowledge(self, number: int) -> None:
        """Let go of a message that the broker has."""
        message = self._in_flight.pop(number, None)
        self._sent_again.discard(number)
        if message is not None and message.acknowledged is not None:
            message.acknowledged()
        self.push()

    def reconnected(self) -> None:
        """Go on after a reconnect: first what the client sends again, then what waits."""
        self._sent_again = set(self._in_flight)
        self.push()

    def take_back(self) -> None:
        """Take back what is in flight, to be handed on anew: the client is replaced."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._sent_again.clear()
