"""Messages on their way to the broker, in order and a few at a time; what waits is the spool's."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.mqtt.connection import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.spool.message import Outgoing
    from edge.spool.spool import Spool

AHEAD = 100  # messages in memory, so that the spool is not read while the broker keeps up
MOST_ACKNOWLEDGED = 10_000


class Outbox:
    """Hands on what the spool keeps, and lets go of what the broker has.

    What is in flight is the client's, which sends it again after a reconnect.
    """

    def __init__(self, spool: Spool, hand_on: Callable[[Outgoing], int | None]) -> None:
        """`hand_on` gives a message to the client: its id, or None when it takes none now."""
        self._spool = spool
        self._hand_on = hand_on
        self._ahead: deque[tuple[int, Outgoing]] = deque()
        self._last = -1
        """Number of the last message that is ahead, or was."""
        self._more = True
        """Whether the spool has messages behind it."""
        self._in_flight: dict[int, int] = {}
        self._numbers: set[int] = set()
        self._sent_again: set[int] = set()
        self._acknowledged: dict[int, Callable[[], None]] = {}
        self._begun = False

    def begin(self) -> None:
        """Begin to hand on; before that another outbox may be at work on the spool."""
        self._begun = True
        self._spool.in_flight = self._numbers

    def put(
        self,
        message: Outgoing,
        *,
        acknowledged: Callable[[], None] | None = None,
        accepted: Callable[[], None] | None = None,
    ) -> None:
        """Have a message recorded, and hand on what can be.

        `accepted` is called when it is recorded, `acknowledged` when the broker has it, unless
        that is after a restart or a crowd of others.
        """
        number = self._spool.add(message, accepted)
        if acknowledged is not None and len(self._acknowledged) < MOST_ACKNOWLEDGED:
            self._acknowledged[number] = acknowledged
        if not self._more:
            if len(self._ahead) < AHEAD:
                self._ahead.append((number, message))
                self._last = number
            else:
                self._more = True
        self.push()

    def push(self) -> None:
        """Hand on as many as may be in flight, behind what is being sent again."""
        if not self._begun or self._sent_again:
            return
        while len(self._in_flight) < IN_FLIGHT and self._look_ahead():
            number, message = self._ahead[0]
            at_client = self._hand_on(message)
            if at_client is None:
                return
            self._ahead.popleft()
            self._in_flight[at_client] = number
            self._numbers.add(number)

    def _look_ahead(self) -> bool:
        while not self._ahead and self._more:
            found, self._last, self._more = self._spool.read(self._last, AHEAD)
            self._ahead.extend(found)
        return bool(self._ahead)

    def acknowledge(self, at_client: int) -> None:
        """Let go of a message that the broker has."""
        number = self._in_flight.pop(at_client, None)
        self._sent_again.discard(at_client)
        if number is not None:
            self._numbers.discard(number)
            self._spool.done(number)
            if acknowledged := self._acknowledged.pop(number, None):
                acknowledged()
            if not len(self._spool):
                self._acknowledged.clear()  # of those that were given up
        self.push()

    def reconnected(self) -> None:
        """Go on after a reconnect: first what the client sends again, then what waits."""
        self._sent_again = set(self._in_flight)
        self.push()

    def take_back(self) -> None:
        """Begin again with what is in flight, to be handed on anew: the client is replaced."""
        self._look_again(min(self._numbers, default=None))
        self._in_flight.clear()
        self._numbers.clear()
        self._sent_again.clear()

    def forget_ahead(self) -> None:
        """Ask the spool again: it has given up messages."""
        self._look_again(None)

    def _look_again(self, first: int | None) -> None:
        """Forget what is ahead; go on with message `first`, or with the first that was ahead."""
        if first is None and self._ahead:
            first = self._ahead[0][0]
        if first is not None:
            self._last = first - 1
        self._ahead.clear()
        self._more = True
