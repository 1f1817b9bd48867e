"""What arrived and what has to: every message that was accepted, once and in order."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.mqtt.repeats import Repeats
from fault_injection.sanity import NEVER, absurdities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_injection.sanity import Clock

EVENTS = "events"  # numbered apart from every pipeline's predictions


class Stream(NamedTuple):
    """What is numbered 0, 1, 2, ...: the predictions of a pipeline within a boot, or its events."""

    boot: str
    what: str


class Seen(NamedTuple):
    """When a pipeline's newest frame was taken, and when its result arrived."""

    captured_s: float
    """By the harness's wall clock."""
    arrived_s: float
    """Monotonic."""


class Ledger:
    """Takes what a subscriber hears; any thread may ask it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._repeats = Repeats()
        self._last: dict[Stream, int] = {}
        self._due: dict[Stream, int] = {}
        self._seen: dict[str, Seen] = {}
        self.events: list[tuple[float, dict[str, Any]]] = []
        """Those of the daemon, with the monotonic time of their arrival."""
        self.answers: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.messages = 0
        self.repeated = 0

    def take(self, topic: str, payload: bytes) -> None:
        """Take in a message."""
        with self._changed:
            self.messages += 1
            try:
                self._take(topic, payload)
            except (ValueError, KeyError, TypeError) as error:
                self.problem(f"{topic} is not as it should be ({error!r}): {payload[:200]!r}")
            self._changed.notify_all()

    def _take(self, topic: str, payload: bytes) -> None:
        kind = topic.rpartition("/")[2]
        if kind not in {"predictions", "events", "metrics", "answer"}:
            return
        said = json.loads(payload)
        for what in absurdities(kind, said, self._clock):
            self.problem(f"{topic}: {what}: {payload[:600].decode()}")
        if kind == "answer":
            self.answers.append(said)
        if kind not in {"predictions", "events"}:
            return
        stream = stream_of(said)
        if self._repeats.seen(said["device"], stream.what, said["boot"], said["sequence"]):
            self.repeated += 1
            return
        expected = self._last.get(stream, -1) + 1
        if said["sequence"] != expected:
            lost = f"{expected} to {said['sequence'] - 1}"
            self.problem(f"LOST: of {stream.what}, boot {stream.boot}, numbers {lost}")
        self._last[stream] = said["sequence"]
        if kind == "events":
            self.events.append((time.monotonic(), said))
            if said["event"] in NEVER:
                self.problem(f"the event {said['event']}: {said['message']}")
        else:
            self._seen[said["pipeline"]] = Seen(
                self._clock.true_s(said["captured_at"]), time.monotonic()
            )

    def problem(self, what: str) -> None:
        """Note what is wrong."""
        with self._changed:
            self.problems.append(what)
            self._changed.notify_all()

    def must_arrive(self, stream: Stream, number: int) -> None:
        """Hear that everything up to this number was accepted."""
        with self._changed:
            self._due[stream] = max(number, self._due.get(stream, -1))

    def missing(self) -> list[str]:
        """Return what was accepted and has not arrived."""
        with self._changed:
            return [
                f"LOST: of {stream.what}, boot {stream.boot}, numbers "
                f"{self._last.get(stream, -1) + 1} to {due} were accepted and never arrived"
                for stream, due in self._due.items()
                if self._last.get(stream, -1) < due
            ]

    def fresh(self, pipeline: str, since_s: float) -> Seen | None:
        """Return a pipeline's newest result where its frame was taken after a moment."""
        seen = self._seen.get(pipeline)
        return seen if seen is not None and seen.captured_s >= since_s else None

    def wait_for(self, done: Callable[[], object], limit_s: float) -> bool:
        """Wait until something holds of what has arrived; False when it is too late."""
        with self._changed:
            return bool(self._changed.wait_for(done, limit_s))

    def count(self, event: str, **fields: object) -> int:
        """Return how many events of a name have arrived."""
        with self._changed:
            return sum(
                said["event"] == event and all(said[k] == v for k, v in fields.items())
                for _, said in self.events
            )


class Witness:
    """Reads what the daemon said to a file of its own, which is what it accepted.

    A result is recorded a moment after it is said: of what a killed daemon said last it may not
    have recorded the last two.
    """

    UNSURE = 2

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path, self._ledger = path, ledger
        self._offset = 0

    def read(self, *, killed: bool) -> int:
        """Have the ledger expect what was said since the last time; returns how much that is."""
        lines = self._new_lines()
        sure = lines[: -self.UNSURE] if killed else lines
        for line in sure:
            said = json.loads(line)
            self._ledger.must_arrive(stream_of(said), said["sequence"])
        return len(sure)

    def look_away(self) -> None:
        """Pass over what was said since the last time: it could not be recorded."""
        self._new_lines()

    def _new_lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        self._offset += len(whole) + bool(whole)
        return whole.splitlines()


def stream_of(said: dict[str, Any]) -> Stream:
    """Return what a prediction or an event is numbered in."""
    return Stream(said["boot"], EVENTS if "event" in said else said["pipeline"])
