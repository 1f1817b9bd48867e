"""Publishes frames with a bounded number under way, and matches the answers to them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError
from edge.latency.histogram import Histogram
from edge.mqtt.client import new_client
from edge.mqtt.reasons import why_refused, why_unreachable

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge.mqtt.access import Access

ANSWER_LIMIT_S = 10.0
GOODBYE_S = 10.0
TICK_S = 0.1
KEEPALIVE_S = 30
UNSUPPORTED_PROTOCOL = 0x84
NO_MATCHING_SUBSCRIBERS = 0x10  # reason code, MQTT 5 section 3.4.2.1


class Answers:
    """What came back. Durations in microseconds."""

    def __init__(self) -> None:
        self.histograms = {
            name: Histogram() for name in ("round trip", "network", "queue", "compute")
        }
        self.devices: Counter[str] = Counter()
        self.repeats = 0
        self.missing = 0

    @property
    def count(self) -> int:
        """How many frames were answered."""
        return self.histograms["round trip"].count

    def take(self, payload: bytes, round_trip_s: float) -> None:
        """Take in a result; the network has what is left of the round trip. Raises ValueError."""
        try:
            result = json.loads(payload)
            request, device = result["request"], str(result["device"])
            queue_ms, compute_ms = float(request["queue_ms"]), float(request["compute_ms"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError("is no result") from error
        parts_ms = {"queue": queue_ms, "compute": compute_ms}
        parts_ms["round trip"] = round_trip_s * 1e3
        parts_ms["network"] = max(round_trip_s * 1e3 - queue_ms - compute_ms, 0)
        for name, ms in parts_ms.items():
            self.histograms[name].record(round(ms * 1e3))
        self.devices[device] += 1


class FramesClient:
    """One connection; `publish` waits while as many frames are under way as may be."""

    def __init__(
        self, access: Access, topic: str, *, in_flight: int, answers_within_s: float | None
    ) -> None:
        """`answers_within_s` is how long an answer is waited for; None: none is asked for."""
        self._access = access
        self._topic = topic
        self._in_flight = in_flight
        self.answers_within_s = answers_within_s
        self.answers = Answers()
        self.published = self.published_bytes = self.acknowledged = 0
        self.unheard = 0
        """Frames that the broker took while nobody was subscribed: it does not keep them."""
        self.began_s = self.ended_s = time.monotonic()
        self._run = os.urandom(6)
        self._response_topic = f"edge-answers/{self._run.hex()}"
        self._changed = threading.Condition()
        self._unacknowledged: set[int] = set()
        self._early: set[int] = set()
        self._asked: dict[bytes, float] = {}
        self._connected = False
        self._refused = ""
        self._subscribed = False
        self._client = new_client(access)
        # Answers have a connection of their own. Behind the acknowledgements of our frames they
        # would wait in the broker's kernel until ours has acknowledged those (Nagle): one frame.
        self._listener = new_client(access) if answers_within_s is not None else None

    def open(self) -> None:
        """Connect. Raises EdgeError that says why that fails."""
        client = self._client
        client.max_inflight_messages_set(self._in_flight)
        client.on_connect, client.on_disconnect = self._paho_connected, self._paho_disconnected
        client.on_publish = self._paho_published
        self._connect(client)
        if self._listener is not None:
            self._listener.on_connect = self._paho_hears
            self._listener.on_subscribe = self._paho_subscribed
            self._listener.on_message = self._paho_message
            self._connect(self._listener)
        end_s = time.monotonic() + ANSWER_LIMIT_S
        with self._changed:
            while not self._ready() and not self._refused:
                if time.monotonic() > end_s:
                    self._refused = f"{self._access.address} does not answer"
                self._changed.wait(TICK_S)
        if self._refused:
            self.close()
            raise EdgeError(self._refused)
        self.began_s = time.monotonic()

    def _connect(self, client: Client) -> None:
        try:
            client.connect(self._access.host, self._access.port, keepalive=KEEPALIVE_S)
        except (OSError, ValueError) as error:
            self.close()
            raise EdgeError(why_unreachable(error, self._access).sentence) from error
        client.loop_start()

    def publish(self, payload: bytes) -> None:
        """Publish a frame as soon as fewer are under way than may be."""
        with self._changed:
            while self._under_way() >= self._in_flight:
                self._look_at_the_clock()
            correlation = self._run + self.published.to_bytes(8, "big")
            if self.answers_within_s is not None:
                self._asked[correlation] = time.monotonic()
            self.published += 1
            self.published_bytes += len(payload)
        # Without our lock: paho wants its own here, and holds that while it waits for ours to
        # tell of an acknowledgement.
        mid = self._client.publish(
            self._topic, payload, qos=1, properties=self._properties(correlation)
        ).mid
        with self._changed:
            if mid in self._early:  # the acknowledgement was faster than we are
                self._early.discard(mid)
            else:
                self._unacknowledged.add(mid)

    def finish(self) -> None:
        """Wait for what is under way; what stays out is missing. Raises EdgeError."""
        end_s = time.monotonic() + GOODBYE_S
        with self._changed:
            while self._asked or self._unacknowledged:
                self._look_at_the_clock()
                if self._unacknowledged and not self._asked and time.monotonic() > end_s:
                    raise EdgeError(
                        f"{len(self._unacknowledged)} frames were not acknowledged by "
                        f"{self._access.address} within {GOODBYE_S:g} s"
                    )
        self.ended_s = time.monotonic()

    def close(self) -> None:
        """Disconnect."""
        self.ended_s = max(self.ended_s, self.began_s)
        for client in filter(None, (self._client, self._listener)):
            client.disconnect()
            client.loop_stop()

    def _ready(self) -> bool:
        return self._connected and (self._subscribed or self.answers_within_s is None)

    def _under_way(self) -> int:
        return max(len(self._unacknowledged), len(self._asked))

    def _look_at_the_clock(self) -> None:
        """Wait for something to change; give up answers that took too long."""
        self._changed.wait(TICK_S)
        if self.answers_within_s is not None:
            before_s = time.monotonic() - self.answers_within_s
            for correlation in [c for c, at_s in self._asked.items() if at_s < before_s]:
                del self._asked[correlation]
                self.answers.missing += 1

    def _properties(self, correlation: bytes) -> Properties:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.CorrelationData = correlation
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        properties.UserProperty = ("sent_at", now)
        if self.answers_within_s is not None:
            properties.ResponseTopic = self._response_topic
        return properties

    def _paho_connected(
        self,
        _client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if reason.value == UNSUPPORTED_PROTOCOL:
                self._refused = f"{self._access.address} does not speak MQTT 5"
            elif reason.is_failure:
                self._refused = why_refused(reason, self._access).sentence
            self._connected = not reason.is_failure
            self._changed.notify_all()

    def _paho_hears(
        self,
        client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not reason.is_failure:  # what it is the other one tells
            client.subscribe(self._response_topic, qos=1)

    def _paho_subscribed(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if reasons[0].is_failure:
                self._refused = (
                    f"{self._access.address} does not let us hear answers on "
                    f"{self._response_topic}: {str(reasons[0]).lower()}"
                )
            self._subscribed = True
            self._changed.notify_all()

    def _paho_disconnected(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if not self._connected and not self._refused:
                self._refused = (
                    f"{self._access.address} closes the connection: does it speak MQTT 5?"
                )
            self._changed.notify_all()

    def _paho_published(
        self,
        _client: Client,
        _userdata: Any,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if mid in self._unacknowledged:
                self._unacknowledged.discard(mid)
            else:
                self._early.add(mid)
            self.acknowledged += not reason.is_failure
            self.unheard += reason.value == NO_MATCHING_SUBSCRIBERS
            self._changed.notify_all()

    def _paho_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        came_s = time.monotonic()
        correlation = getattr(message.properties, "CorrelationData", None)
        with self._changed:
            sent_s = self._asked.pop(correlation, None) if correlation is not None else None
            if sent_s is None:
                self.answers.repeats += 1
                return
            try:
                self.answers.take(bytes(message.payload), came_s - sent_s)
            except ValueError:
                self.answers.missing += 1
            self._changed.notify_all()


def report(client: FramesClient, failed: int) -> dict[str, Any]:
    """Return all figures, durations in milliseconds; null where too few were timed."""
    seconds = max(client.ended_s - client.began_s, 1e-9)
    found: dict[str, Any] = {
        "frames": client.published,
        "bytes": client.published_bytes,
        "failed": failed,
        "acknowledged": client.acknowledged,
        "unheard": client.unheard,
        "seconds": round(seconds, 3),
        "fps": round(client.published / seconds, 2),
    }
    if client.answers_within_s is None:
        return found
    answers = client.answers
    found |= {
        "answers": answers.count,
        "missing": answers.missing,
        "repeats": answers.repeats,
        "devices": dict(answers.devices),
    }
    for name, histogram in answers.histograms.items():
        found[f"{name.replace(' ', '_')}_ms"] = {
            **{
                f"p{q}": None if (us := histogram.supported_percentile(q)) is None else us / 1e3
                for q in (50, 90, 99)
            },
            "max": histogram.max / 1e3 if histogram.count else None,
        }
    return found
