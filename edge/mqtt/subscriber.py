"""A client that takes the messages of one topic filter, and acknowledges each when told to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from edge.errors import SourceError
from edge.mqtt.client import MQTT_3_1_1, MQTT_5, new_client
from edge.mqtt.reasons import why_closed, why_lost, why_not_taken, why_refused, why_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge.mqtt.access import Access

ANSWER_LIMIT_S = 10.0
KEEPALIVE_S = 15  # after one and a half times that the broker takes a machine for dead
SESSION_S = 30  # a worker or daemon that is started again is back long before
NO_RETRY_S = 3600
UNSUPPORTED_PROTOCOL = 0x84  # reason code, MQTT 5 section 3.2.2.2


class Subscriber:
    """One connection; with a session, what is not acknowledged waits for the next one.

    Its callbacks run in the client's thread. It does not connect anew: whoever has it does.
    """

    def __init__(
        self,
        access: Access,
        topic_filter: str,
        *,
        qos: int,
        unacknowledged: int,
        largest_bytes: int,
        session: str = "",
        on_message: Callable[[MQTTMessage], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """`unacknowledged` is how many messages the broker sends ahead; `on_lost` hears why.

        `session` is a client id, for MQTT 5: what the broker has for it is kept for `SESSION_S`.
        Mosquitto gives what a member of a group did not acknowledge to no other, but drops it.
        """
        self._access = access
        self._filter = topic_filter
        self._qos = qos
        self._unacknowledged = unacknowledged
        self._largest_bytes = largest_bytes
        self._session = session
        self._on_message = on_message
        self._on_lost = on_lost
        self._client: Client | None = None

    def open(self) -> None:
        """Connect and subscribe. Raises SourceError that says why it cannot."""
        shared = self._filter.startswith("$share/")
        try:
            self._connect(MQTT_5, shared=shared)
        except _SpeaksOnlyOlderError as error:
            self.close()
            if shared:
                raise SourceError(
                    f"{self._access.address} does not speak MQTT 5, and `share` needs it: use a "
                    "broker such as Mosquitto 2, EMQX, VerneMQ or HiveMQ"
                ) from error
            self._connect(MQTT_3_1_1, shared=False)
        except SourceError:
            self.close()
            raise

    def acknowledge(self, message: MQTTMessage) -> None:
        """Tell the broker that a message is settled; from any thread."""
        if self._client is not None:
            self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Disconnect in order: the broker adds nothing to what is not acknowledged."""
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            client.unsubscribe(self._filter)
            client.disconnect()
            client.loop_stop()

    def _connect(self, protocol: int, *, shared: bool) -> None:
        from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY

        client = new_client(self._access, self._session, protocol=protocol)
        client.manual_ack_set(True)
        client.reconnect_delay_set(NO_RETRY_S, NO_RETRY_S)
        answered = threading.Event()
        told: list[Any] = []

        def connected(
            _client: Client,
            _userdata: Any,
            _flags: ConnectFlags,
            reason: ReasonCode,
            properties: Properties | None,
        ) -> None:
            told.append((reason, getattr(properties, "SharedSubscriptionAvailable", 1)))
            answered.set()

        def subscribed(
            _client: Client,
            _userdata: Any,
            _mid: int,
            reasons: list[ReasonCode],
            _properties: Properties | None,
        ) -> None:
            told.append(reasons[0])
            answered.set()

        def disconnected(
            _client: Client,
            _userdata: Any,
            _flags: DisconnectFlags,
            reason: ReasonCode,
            _properties: Properties | None,
        ) -> None:
            told.append(None)
            answered.set()
            self._on_lost(why_lost(reason, self._access).sentence)

        def take(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
            self._on_message(message)

        client.on_connect, client.on_subscribe = connected, subscribed
        client.on_disconnect, client.on_message = disconnected, take
        self._client = client
        host, port = self._access.host, self._access.port
        properties = self._properties() if protocol == MQTT_5 else None
        anew = False if self._session else MQTT_CLEAN_START_FIRST_ONLY
        try:
            client.connect(host, port, KEEPALIVE_S, clean_start=anew, properties=properties)
        except (OSError, ValueError) as error:
            raise SourceError(why_unreachable(error, self._access).sentence) from error
        client.loop_start()
        answer = self._answer(answered, told)
        if answer is None:
            if protocol == MQTT_5:
                raise _SpeaksOnlyOlderError  # some old brokers close without a word
            raise SourceError(why_closed(self._access).sentence)
        reason, offers_shared = answer
        if reason.value == UNSUPPORTED_PROTOCOL and protocol == MQTT_5:
            raise _SpeaksOnlyOlderError
        if reason.is_failure:
            raise SourceError(why_refused(reason, self._access).sentence)
        if shared and not offers_shared:
            raise SourceError(
                f"{self._access.address} offers no shared subscriptions, and `share` needs them"
            )
        answered.clear()
        told.clear()
        client.subscribe(self._filter, self._qos)
        granted = self._answer(answered, told)
        if granted is None:
            raise SourceError(f"{self._access.address} does not answer to our subscription")
        if granted.is_failure:
            what = f"the subscription to {self._filter}"
            raise SourceError(why_not_taken(what, granted, self._access).sentence)

    def _answer(self, answered: threading.Event, told: list[Any]) -> Any:
        if not answered.wait(ANSWER_LIMIT_S):
            raise SourceError(f"{self._access.address} does not answer within {ANSWER_LIMIT_S:g} s")
        return told[0]

    def _properties(self) -> Properties:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = self._unacknowledged
        properties.MaximumPacketSize = self._largest_bytes
        properties.SessionExpiryInterval = SESSION_S if self._session else 0
        return properties


class _SpeaksOnlyOlderError(SourceError):
    """The broker does not speak MQTT 5."""
