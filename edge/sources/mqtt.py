"""Frames from the device's broker: the newest wins, or a pool of devices shares them all."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from edge.errors import FrameError, SourceError
from edge.sources import payload
from edge.sources.base import Grabbed, ModelInput, Source, SourceOptions, Surroundings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from paho.mqtt.client import MQTTMessage

    from edge.mqtt.subscriber import Subscriber

WAKE_S = 0.5
CAREFUL_FRAMES = 100  # taken one by one after a worker died of one
LONGEST_TOPIC, LONGEST_TIME, LONGEST_CORRELATION = 1024, 64, 1024  # bytes
PACKET_MARGIN = 4  # times `max_bytes`: what is larger stays at the broker, and is not even told


def topic_filter(value: str) -> str:
    """Return the value if it can be subscribed to, else raise ValueError."""
    levels = value.split("/")
    if not value or len(value.encode()) > LONGEST_TOPIC or not value.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_TOPIC} bytes, each sign printable")
    if value.startswith("$"):
        raise ValueError("must not begin with $: a group of devices is named by `share`")
    plus = any("+" in level and level != "+" for level in levels)
    if plus or any("#" in level for level in levels[:-1]) or "#" in levels[-1][:-1]:
        raise ValueError("may have + and # only as whole levels, # only as the last")
    if "#" in levels[-1] and levels[-1] != "#":
        raise ValueError("may have + and # only as whole levels, # only as the last")
    return value


def _group(value: str) -> str:
    if any(sign in value for sign in "/+#") or not value.isprintable():
        raise ValueError("must be printable and without / + #")
    return value


class MqttOptions(SourceOptions):
    """Frames that others publish at the device's broker."""

    type: Literal["mqtt"] = Field(description="Frames that others publish at the device's broker.")
    topic: Annotated[str, AfterValidator(topic_filter)] = Field(
        description="Where they are published; + and # stand for any levels. A message is one "
        "JPEG, PNG or tensor.",
    )
    share: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_group)] | None = (
        Field(
            default=None,
            description="Name of a group of devices that share the frames: each goes to one of "
            "them, none is dropped, and those a dead worker had wait for the next one. Without "
            "it every device gets all, and the newest wins.",
        )
    )
    prefetch: int = Field(
        default=2,
        ge=1,
        le=100,
        description="With `share`: frames the broker sends ahead before their results are "
        "recorded. A slow device with many keeps them from the others.",
    )
    max_bytes: int = Field(
        default=4 << 20, ge=1024, le=64 << 20, description="A larger message is no frame."
    )

    @property
    def live(self) -> bool:
        """Whether the newest frame wins."""
        return self.share is None

    @property
    def from_broker(self) -> bool:
        """It is."""
        return True

    @property
    def awaits_acceptance(self) -> bool:
        """A shared frame is the broker's until its result is recorded."""
        return self.share is not None

    @property
    def begins_anew(self) -> bool:
        """What was acknowledged does not come again."""
        return False

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        return MqttSource(self)


@dataclass(slots=True)
class _Message:
    """A message that lies here, and what the broker still wants to hear of it."""

    number: int
    message: MQTTMessage
    received_ns: int
    settled: bool = False


class MqttSource(Source):
    """Takes messages from a connection of its own, in the worker."""

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._shared = options.share is not None
        self._surroundings = Surroundings()
        self._left_out: set[bytes] = set()
        self._careful = 0
        self._number = -1
        self._waiting: deque[_Message] = deque()
        self._in_hand: deque[_Message] = deque()
        """In the order the broker sent them, which is that of its acknowledgements."""
        self._changed = threading.Condition()
        self._why_lost = ""
        self._subscriber: Subscriber | None = None
        self._payload = b""
        self._digest: bytes | None = None

    def place(self, surroundings: Surroundings) -> None:
        """Hear which broker it is, and which frames are not to be run."""
        self._surroundings = surroundings
        self._left_out = set(surroundings.left_out)
        self._careful = CAREFUL_FRAMES if surroundings.careful else 0

    def open(self) -> None:
        """Connect and subscribe."""
        from edge.mqtt.subscriber import Subscriber

        access, options = self._surroundings.broker, self._options
        if access is None:
            raise SourceError(f"{options.topic}: frames from a broker need the daemon: `edge run`")
        with self._changed:
            self._waiting.clear()
            self._in_hand.clear()
            self._why_lost = ""
        shared = f"$share/{options.share}/{options.topic}"
        whose = f"{self._surroundings.owner} {shared}".encode()
        # 23 letters and digits, which all brokers take: MQTT 5 section 3.1.3.1
        session = f"edge{hashlib.blake2b(whose, digest_size=9).hexdigest()}"
        self._subscriber = Subscriber(
            access,
            shared if self._shared else options.topic,
            qos=1 if self._shared else 0,
            unacknowledged=options.prefetch,
            largest_bytes=PACKET_MARGIN * options.max_bytes,
            session=session if self._shared else "",
            on_message=self._came,
            on_lost=self._lost,
        )
        self._subscriber.open()

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Take the next message, or the newest where frames are not shared."""
        with self._changed:
            while not (stop.is_set() or self._why_lost or self._may_take()):
                self._changed.wait(WAKE_S)
            if stop.is_set():
                return None
            if self._why_lost:
                raise SourceError(self._why_lost)
            taken = self._waiting.popleft()
            self._number += 1
            taken.number = self._number
            if taken.message.qos:
                self._in_hand.append(taken)
        asked = _asked(taken.message)
        self._payload = bytes(taken.message.payload)
        self._digest = None
        if self._shared:
            _, _, correlation, sent_at = asked
            beside = (correlation or b"") + (sent_at or "").encode()
            self._digest = hashlib.blake2b(self._payload + beside, digest_size=16).digest()
        return Grabbed(taken.number, taken.received_ns, asked=asked, digest=self._digest)

    def retrieve(self) -> NDArray[Any] | ModelInput:
        """Decode what the message holds."""
        if self._digest in self._left_out:
            self._left_out.discard(self._digest)
            raise FrameError(f"a frame of {self._options.topic} ended two workers and is left out")
        if len(self._payload) > self._options.max_bytes:
            raise FrameError(
                f"a message of {self._options.topic} has {len(self._payload)} bytes; a frame has "
                f"at most {self._options.max_bytes} (`max_bytes`)"
            )
        try:
            frame, self.size = payload.unpack(self._payload, self.reduction)
        except FrameError as error:
            raise FrameError(f"a message of {self._options.topic} {error}") from error
        return frame

    def accepted(self, number: int) -> None:
        """Acknowledge a frame, and those behind it that were settled before it."""
        with self._changed:
            for held in self._in_hand:
                if held.number == number:
                    held.settled = True
            while self._in_hand and self._in_hand[0].settled:
                settled = self._in_hand.popleft()
                self._careful = max(self._careful - 1, 0)
                if self._subscriber is not None:
                    self._subscriber.acknowledge(settled.message)
            self._changed.notify_all()

    def close(self) -> None:
        """Disconnect; what is in hand waits for us at the broker, for a while."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.close()

    def _may_take(self) -> bool:
        return bool(self._waiting) and not (self._careful and self._in_hand)

    def _came(self, message: MQTTMessage) -> None:
        """Let a message wait, in the client's thread; of those without QoS the newest stay."""
        with self._changed:
            self._waiting.append(_Message(-1, message, time.monotonic_ns()))
            room = self._options.prefetch if self._shared else 1
            unasked = [held for held in self._waiting if not held.message.qos]
            for held in unasked[: max(len(unasked) - room, 0)]:
                self._waiting.remove(held)
                self.lost += 1
            self._changed.notify_all()

    def _lost(self, why: str) -> None:
        with self._changed:
            self._why_lost = why
            self._changed.notify_all()


def _asked(message: MQTTMessage) -> tuple[str, str | None, bytes | None, str | None]:
    """Return what stands beside the frame: topic, response topic, correlation data, `sent_at`.

    What is longer than anybody needs is as good as not there.
    """
    properties = message.properties
    response = getattr(properties, "ResponseTopic", None)
    correlation = getattr(properties, "CorrelationData", None)
    sent_at = next(
        (value for name, value in getattr(properties, "UserProperty", []) if name == "sent_at"),
        None,
    )
    if response is not None and len(response.encode()) > LONGEST_TOPIC:
        response = None
    if correlation is not None and len(correlation) > LONGEST_CORRELATION:
        correlation = None
    if sent_at is not None and (len(sent_at) > LONGEST_TIME or not sent_at.isprintable()):
        sent_at = None
    return message.topic, response, correlation, sent_at
