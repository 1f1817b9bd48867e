"""One connection to a broker that may be away for as long as it likes, for the event loop."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.mqtt.certificates import from_der
from edge.mqtt.client import (
    LARGEST_RECEIVED,
    MQTT_3_1_1,
    MQTT_5,
    connect_properties,
    new_client,
)
from edge.mqtt.pauses import Pauses
from edge.mqtt.reasons import why_closed, why_lost, why_not_taken, why_refused, why_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge.mqtt.access import Access
    from edge.mqtt.certificates import Certificate
    from edge.mqtt.reasons import Reason

GOODBYE_S = 2.0
IN_FLIGHT = 20  # messages handed on and not acknowledged, where the broker asks for no fewer
UNSUPPORTED_PROTOCOL = 0x84  # reason code, MQTT 5 section 3.2.2.2
MOST_TOLD = 20
MOST_UNREAD = 100  # messages the event loop has not looked at; what comes meanwhile is dropped


class Received(NamedTuple):
    """A message from the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    """Whether it lay there before we subscribed."""
    response_topic: str | None
    """Where an answer is wanted; MQTT 5 only."""
    correlation: bytes | None
    """What the answer must bear; MQTT 5 only."""


class Connection:
    """Publishes, subscribes and says what becomes of the connection.

    All its methods and callbacks run in the event loop's thread; the client's own thread
    only hands its news over.
    """

    def __init__(
        self,
        access: Access,
        *,
        client_id: str,
        keepalive_s: int,
        will: tuple[str, str],
        on_event: Callable[[str, str], None],
        on_connected: Callable[[], None],
        on_published: Callable[[int], None],
        on_replaced: Callable[[], None],
    ) -> None:
        """`will` is a retained (topic, payload) that the broker publishes when we are gone.

        `on_event` hears (event, sentence): connected, lost, away, refused, untrusted; each
        sentence once until there is a connection again. `on_published` hears the
        number of a message that the broker has; after `on_replaced` no number counts any more
        that was given before.
        """
        self._access = access
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._will = will
        self._on_event = on_event
        self._on_connected = on_connected
        self._on_published = on_published
        self._on_replaced = on_replaced
        self._subscriptions: dict[str, tuple[Callable[[Received], None], int]] = {}
        self._client: Client | None = None
        self.in_flight = IN_FLIGHT
        """How many messages the broker takes before it has acknowledged one of them."""
        self._silent_refusals = 0
        self._answered = False
        self._stopped = False
        self._told: set[str] = set()
        self._broker_certificate: Certificate | None = None
        self._unread = threading.Semaphore(MOST_UNREAD)
        self._pauses = Pauses()
        self.protocol = MQTT_5
        self.connected = False

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return self._access.address

    @property
    def certificates(self) -> list[Certificate]:
        """All whose end is the end of this connection: ours, our CAs', the broker's."""
        others = [self._broker_certificate] if self._broker_certificate else []
        return [*self._access.certificates, *others]

    def start(self) -> None:
        """Begin to connect, and go on trying; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._connect()

    def _connect(self) -> None:
        if self._stopped:
            return
        client = new_client(self._access, self._client_id, protocol=self.protocol)
        topic, payload = self._will
        client.will_set(topic, payload, qos=1, retain=True)
        client.max_inflight_messages_set(self.in_flight)
        client.on_connect = self._paho_connected
        client.on_connect_fail = self._paho_unreachable
        client.on_disconnect = self._paho_disconnected
        client.on_publish = self._paho_published
        client.on_subscribe = self._paho_subscribed
        client.on_message = self._paho_message
        self._client = client
        host, port = self._access.host, self._access.port
        properties = connect_properties(self.protocol)
        client.connect_async(host, port, keepalive=self._keepalive_s, properties=properties)
        client.loop_start()

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        qos: int = 1,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> int | None:
        """Hand a message to the broker; returns its number, None while the broker is away.

        `correlation` goes with it as correlation data, where the broker speaks MQTT 5.
        """
        if not self.connected or self._client is None:
            return None
        properties = None
        if correlation is not None and self.protocol == MQTT_5:
            properties = _answer_properties(correlation)
        return self._client.publish(topic, payload, qos, retain, properties).mid

    def subscribe(
        self, topic_filter: str, handler: Callable[[Received], None], *, qos: int = 1
    ) -> None:
        """Hear what comes on a topic, now and after every reconnect."""
        self._subscriptions[topic_filter] = (handler, qos)
        if self.connected and self._client is not None:
            self._client.subscribe(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear no more of a topic."""
        self._subscriptions.pop(topic_filter, None)
        if self.connected and self._client is not None:
            self._client.unsubscribe(topic_filter)

    async def stop(self, farewell: tuple[str, str]) -> None:
        """Publish a last retained (topic, payload) where the broker is there, and disconnect."""
        client = self._client
        self._stopped = True
        if client is None:
            return
        if self.connected:
            said = client.publish(*farewell, qos=1, retain=True)
            await asyncio.to_thread(_wait_for_publish, said, GOODBYE_S)
        self._client, self.connected = None, False
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)

    # From here on: what happened, in the event loop's thread.

    def _connected(
        self,
        client: Client,
        reason: ReasonCode,
        receive_maximum: int,
        certificate: Certificate | None,
    ) -> None:
        if client is not self._client:
            return
        self._answered = True
        if reason.value == UNSUPPORTED_PROTOCOL and self.protocol == MQTT_5:
            self._speak(MQTT_3_1_1, after_s=0)
            return
        if reason.is_failure:
            self._tell(why_refused(reason, self._access))
            return
        if receive_maximum < self.in_flight:
            self.in_flight = receive_maximum
            self._speak(self.protocol, after_s=0)  # paho takes it only before it connects
            return
        self.connected = True
        self._broker_certificate = certificate
        self._silent_refusals = 0
        self._pauses.is_there()
        self._told.clear()
        for topic_filter, (_, qos) in self._subscriptions.items():
            client.subscribe(topic_filter, qos)
        self._on_connected()
        version = "5" if self.protocol == MQTT_5 else "3.1.1"
        self._on_event("broker_connected", f"connected to {self.address} with MQTT {version}")

    def _received(self, client: Client, message: Received) -> None:
        self._unread.release()
        if client is not self._client:
            return
        for topic_filter, (handler, _) in list(self._subscriptions.items()):
            if _matches(topic_filter, message.topic):
                handler(message)

    def _unreachable(self, client: Client, reason: Reason) -> None:
        if client is self._client:
            self._tell(reason)

    def _disconnected(self, client: Client, reason: ReasonCode) -> None:
        if client is not self._client:
            return
        was_connected, self.connected = self.connected, False
        answered, self._answered = self._answered, False
        if was_connected:
            self._tell(why_lost(reason, self._access))
            if self.protocol != MQTT_5:
                self._speak(MQTT_5, after_s=self._pauses.next_s())
        elif not answered:
            self._try_the_other_protocol()

    def _try_the_other_protocol(self) -> None:
        """Some old brokers close the connection on MQTT 5 without a word: try 3.1.1 at once.

        A broker that is just going down does the same, so the two take turns; where neither is
        answered, TLS may be what stands between us.
        """
        self._silent_refusals += 1
        if self.protocol == MQTT_5:
            self._speak(MQTT_3_1_1, after_s=0)
        else:
            self._loop.run_in_executor(None, self._ask_why_closed)
            self._speak(MQTT_5, after_s=self._pauses.next_s())

    def _speak(self, protocol: int, *, after_s: float) -> None:
        """Begin anew in another protocol, with a client that knows of no message."""
        old, self._client = self._client, None
        self.protocol = protocol
        self._on_replaced()
        if old is not None:
            old.disconnect()
            self._loop.run_in_executor(None, old.loop_stop)
        self._loop.call_later(after_s, self._connect)

    def _published(self, client: Client, number: int, reason: ReasonCode) -> None:
        if client is self._client:
            if reason.is_failure:
                self._tell(why_not_taken("a message", reason, self._access))
            self._on_published(number)

    def _subscribed(self, client: Client, reasons: list[ReasonCode]) -> None:
        for reason in reasons:
            if reason.is_failure and client is self._client:
                self._tell(why_not_taken("a subscription", reason, self._access))

    def _still_closed(self, reason: Reason) -> None:
        if self._silent_refusals and not self._stopped:
            self._tell(reason)

    def _tell(self, reason: Reason) -> None:
        """Tell a thing once, however often it is tried again."""
        if reason.sentence not in self._told:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            self._told.add(reason.sentence)
            trying = "" if self.connected else "; trying on"
            self._on_event(reason.event, f"{reason.sentence}{trying}")

    # And here: other threads, paho's own above all, which hand it over.

    def _hand_over(self, callback: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *values)
        except RuntimeError:
            return  # the event loop has ended; so shall we

    def _paho_connected(
        self,
        client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        receive_maximum = getattr(properties, "ReceiveMaximum", IN_FLIGHT)
        certificate = _certificate_of(client.socket())
        self._hand_over(self._connected, client, reason, receive_maximum, certificate)

    def _paho_message(self, client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if len(message.payload) > LARGEST_RECEIVED or not self._unread.acquire(blocking=False):
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._unread.release()
            return  # no topic of ours
        asked = message.properties
        received = Received(
            topic,
            bytes(message.payload),
            message.qos,
            bool(message.retain),
            getattr(asked, "ResponseTopic", None),
            getattr(asked, "CorrelationData", None),
        )
        self._hand_over(self._received, client, received)

    def _paho_unreachable(self, client: Client, _userdata: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it handles what connecting raised
        self._pauses.space_out(client)
        self._hand_over(self._unreachable, client, why_unreachable(error, self._access))

    def _ask_why_closed(self) -> None:
        self._hand_over(self._still_closed, why_closed(self._access))

    def _paho_disconnected(
        self,
        client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._pauses.space_out(client)
        self._hand_over(self._disconnected, client, reason)

    def _paho_published(
        self,
        client: Client,
        _userdata: Any,
        number: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._published, client, number, reason)

    def _paho_subscribed(
        self,
        client: Client,
        _userdata: Any,
        _number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._subscribed, client, reasons)


def _answer_properties(correlation: bytes) -> Properties:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.CorrelationData = correlation
    return properties


def _matches(topic_filter: str, topic: str) -> bool:
    from paho.mqtt.client import topic_matches_sub

    return topic_matches_sub(topic_filter, topic)


def _certificate_of(sock: Any) -> Certificate | None:
    """Return the broker's certificate, where there is one."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    try:
        der = sock.getpeercert(binary_form=True)
        return from_der(der, "the broker's certificate") if der else None
    except (OSError, ValueError):
        return None  # the connection is gone already


def _wait_for_publish(said: Any, timeout_s: float) -> None:
    try:
        said.wait_for_publish(timeout_s)
    except (RuntimeError, ValueError):
        return  # the connection broke meanwhile: the will says it for us
