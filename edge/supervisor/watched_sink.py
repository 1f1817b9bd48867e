"""Tells what befalls a sink beside the broker: each outage once, and its end."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from edge.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.messages import Message
    from edge.sinks.base import SinkOptions

SETTLED_S = 10.0
"""An outage is over when nothing was refused for so long: a slow reader is one outage, not many."""


class WatchedSink:
    """A sink, which may refuse for as long as it likes: nobody waits for it."""

    def __init__(
        self,
        options: SinkOptions,
        tell: Callable[..., None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is `Outlet.tell`: what it publishes comes back to this very sink."""
        self._place = options.place
        self._sink = options.make()
        self._tell = tell
        self._clock = clock
        self._began_s: float | None = None
        self._last_s = 0.0
        self._refused = 0

    def start(self) -> None:
        """Begin."""
        try:
            self._sink.start()
        except SinkError as error:
            self._note(error)

    def send(self, message: Message) -> None:
        """Hand a message on if the sink wants it."""
        if message.topic_name not in self._sink.wanted:
            return
        try:
            self._sink.send(message)
        except SinkError as error:
            self._refused += 1
            self._note(error)
        else:
            self._note_taken()

    def close(self) -> None:
        """Let go of what the sink holds."""
        self._sink.close()

    def _note(self, error: SinkError) -> None:
        self._last_s = self._clock()
        if self._began_s is None:
            self._began_s = self._last_s
            self._tell("sink_failed", str(error), level=logging.ERROR)

    def _note_taken(self) -> None:
        now_s = self._clock()
        if self._began_s is None or now_s - self._last_s < SETTLED_S:
            return
        away_s, refused = now_s - self._began_s, self._refused
        self._began_s, self._refused = None, 0
        self._tell(
            "sink_back",
            f"{self._place} takes messages again after {away_s:.0f} s; {refused} were refused",
            refused=refused,
        )
