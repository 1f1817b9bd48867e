"""The MQTT sink: one connection to the broker, which may be away for as long as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge.messages import OFFLINE, ONLINE, Info, Message, status_topic
from edge.sinks.outbox import Outbox, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

DEFAULT_PORT = 1883
GOODBYE_S = 2.0
REASON_LIMIT_S = 5.0
LONGEST_RETRY_S = 30
MQTT_5, MQTT_3_1_1 = 5, 4  # protocol levels, as CONNECT says them
UNSUPPORTED_PROTOCOL = 0x84  # reason code, MQTT 5 section 3.2.2.2
MOST_TWINS = 100


class MqttSink:
    """Publishes messages; status and info are there again after every reconnect.

    All its methods and callbacks run in the event loop's thread; the client's own thread
    only hands its news over.
    """

    def __init__(
        self,
        *,
        broker: str,
        client_id: str,
        username: str | None,
        password: str | None,
        keepalive_s: int,
        base_topic: str,
        device: str,
        boot: str,
        limit: int,
        on_event: Callable[[str, str], None],
    ) -> None:
        """`on_event` hears (event, sentence): connected, lost, refused, taken over."""
        url = urlsplit(broker)
        self._host, self._port = url.hostname or "127.0.0.1", url.port or DEFAULT_PORT
        self._client_id = client_id
        self._username, self._password = username, password
        self._keepalive_s = keepalive_s
        self._base_topic = base_topic
        self._status_topic = status_topic(base_topic, device)
        self._info_topic = f"{base_topic}/{device}/{Info.topic_name}"
        self._boot = boot
        self._twins: set[str] = set()
        self._was_here = False
        self._on_event = on_event
        self._outbox = Outbox(self._hand_on, limit=limit)
        self._retained: dict[str, bytes] = {}
        self._client: Client | None = None
        self._silent_refusals = 0
        self._answered = False
        self._stopped = False
        self._said = ""
        self._idle = asyncio.Event()
        self.protocol = MQTT_5
        self.connected = False

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return f"{self._host}:{self._port}"

    @property
    def waiting(self) -> int:
        """How many messages the broker has not acknowledged."""
        return len(self._outbox)

    @property
    def given_up(self) -> int:
        """How many messages were dropped because too many waited."""
        return self._outbox.given_up

    def start(self) -> None:
        """Begin to connect, and go on trying; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._connect()

    def _connect(self) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        if self._stopped:
            return
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion(self.protocol),
        )
        client.username_pw_set(self._username, self._password)
        client.will_set(self._status_topic, OFFLINE, qos=1, retain=True)
        # A fleet that lost its broker must not come back in one stroke.
        client.reconnect_delay_set(random.uniform(0.5, 1.5), LONGEST_RETRY_S)  # type: ignore[arg-type]  # noqa: S311
        client.on_connect = self._paho_connected
        client.on_connect_fail = self._paho_unreachable
        client.on_disconnect = self._paho_disconnected
        client.on_publish = self._paho_published
        client.on_socket_open = _send_at_once
        client.on_message = self._paho_message
        self._client = client
        client.connect_async(self._host, self._port, keepalive=self._keepalive_s)
        client.loop_start()

    def send(self, message: Message, acknowledged: Callable[[], None] | None = None) -> None:
        """Publish a message as its class says; `acknowledged` is called when the broker has it.

        What is retained replaces what was there; what may be lost is sent only while the
        broker is there; everything else waits for it, in order.
        """
        topic, payload = message.topic(self._base_topic), message.to_json()
        if message.retain:
            self._retained[topic] = payload
            if self.connected:
                self._publish_retained(topic, payload)
        elif message.qos:
            self._idle.clear()
            self._outbox.put(Outgoing(topic, payload, acknowledged))
        elif self.connected and self._client is not None:
            self._client.publish(topic, payload, qos=0)

    async def stop(self, timeout_s: float) -> int:
        """Deliver what waits, as far as the time allows, say offline, disconnect.

        Returns how many messages were not delivered.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._until_idle(), timeout_s)
        client = self._client
        self._stopped = True
        if client is None:
            return len(self._outbox)
        if self.connected:
            said = client.publish(self._status_topic, OFFLINE, qos=1, retain=True)
            await asyncio.to_thread(_wait_for_publish, said, GOODBYE_S)
        self._client = None
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
        return len(self._outbox)

    async def _until_idle(self) -> None:
        while len(self._outbox):
            self._idle.clear()
            await self._idle.wait()

    def _hand_on(self, message: Outgoing) -> int | None:
        if not self.connected or self._client is None:
            return None
        return self._client.publish(message.topic, message.payload, qos=1).mid

    def _publish_retained(self, topic: str, payload: bytes | str) -> None:
        if self._client is not None:
            self._client.publish(topic, payload, qos=1, retain=True)

    # From here on: what happened, in the event loop's thread.

    def _connected(self, client: Client, reason: ReasonCode) -> None:
        if client is not self._client:
            return
        self._answered = True
        if reason.value == UNSUPPORTED_PROTOCOL and self.protocol == MQTT_5:
            self._speak(MQTT_3_1_1, after_s=0)
            return
        if reason.is_failure:
            self._say("broker_refused", f"{self.address} refuses us: {_plain(reason)}")
            return
        self.connected = True
        client.subscribe(self._info_topic)  # before ours replaces what is retained there
        self._silent_refusals, self._said = 0, ""
        self._publish_retained(self._status_topic, ONLINE)
        for topic, payload in self._retained.items():
            self._publish_retained(topic, payload)
        version = "5" if self.protocol == MQTT_5 else "3.1.1"
        self._outbox.reconnected()
        self._on_event("broker_connected", f"connected to {self.address} with MQTT {version}")

    def _info_heard(self, client: Client, payload: bytes, retained: bool) -> None:
        """Notice a twin: somebody else who says, while we are here, that he is this device.

        Two clients of one id throw each other off for ever, and brokers do not tell them why.
        """
        ours_before, self._was_here = self._was_here, True
        if client is not self._client or (retained and not ours_before):
            return  # what is retained at our first coming is from our own last run
        try:
            boot = str(json.loads(payload)["boot"])[:64]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if boot != self._boot and boot not in self._twins and len(self._twins) < MOST_TWINS:
            self._twins.add(boot)
            self._on_event(
                "twin_found",
                f"another daemon (boot {boot}) says at {self.address} that it is this device; is "
                "the name in use twice, or a machine a copy of another?",
            )

    def _unreachable(self, client: Client, why: str) -> None:
        if client is self._client:
            self._say("broker_away", f"{self.address} cannot be reached ({why}); trying on")

    def _disconnected(self, client: Client, reason: ReasonCode) -> None:
        if client is not self._client:
            return
        was_connected, self.connected = self.connected, False
        answered, self._answered = self._answered, False
        if was_connected:
            self._say("broker_lost", f"the connection to {self.address} was lost: {_plain(reason)}")
            if self.protocol != MQTT_5:
                self._speak(MQTT_5, after_s=random.uniform(0.5, 1.5))  # noqa: S311
        elif not answered:
            self._try_the_other_protocol()

    def _try_the_other_protocol(self) -> None:
        """Some old brokers close the connection on MQTT 5 without a word: try 3.1.1 at once.

        A broker that is just going down does the same, so the two take turns.
        """
        self._silent_refusals += 1
        if self.protocol == MQTT_5:
            self._speak(MQTT_3_1_1, after_s=0)
        else:
            pause_s = min(2.0 ** (self._silent_refusals // 2), LONGEST_RETRY_S)
            self._speak(MQTT_5, after_s=pause_s * random.uniform(0.5, 1))  # noqa: S311

    def _speak(self, protocol: int, *, after_s: float) -> None:
        """Begin anew in another protocol, with everything that has not been acknowledged."""
        old, self._client = self._client, None
        self.protocol = protocol
        self._outbox.take_back()
        if old is not None:
            old.disconnect()
            self._loop.run_in_executor(None, old.loop_stop)
        self._loop.call_later(after_s, self._connect)

    def _published(self, client: Client, number: int) -> None:
        if client is self._client:
            self._outbox.acknowledge(number)
            if not len(self._outbox):
                self._idle.set()

    def _say(self, event: str, sentence: str) -> None:
        """Tell a thing once, however often it is tried again."""
        if sentence != self._said:
            self._said = sentence
            self._on_event(event, sentence)

    # And here: paho's own thread, which hands it over.

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
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._connected, client, reason)

    def _paho_message(self, client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self._hand_over(self._info_heard, client, message.payload, message.retain)

    def _paho_unreachable(self, client: Client, _userdata: Any) -> None:
        self._hand_over(self._unreachable, client, _why_unreachable(self._host, self._port))

    def _paho_disconnected(
        self,
        client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._disconnected, client, reason)

    def _paho_published(
        self,
        client: Client,
        _userdata: Any,
        number: int,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._published, client, number)


def _why_unreachable(host: str, port: int) -> str:
    """Try it once more, to hear what paho does not hand on: a wrong name, a closed port."""
    try:
        socket.create_connection((host, port), timeout=REASON_LIMIT_S).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "now somebody answers"


def _send_at_once(_client: Client, _userdata: Any, sock: Any) -> None:
    """Results are small and must not wait for one another (Nagle) in the kernel."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _plain(reason: ReasonCode) -> str:
    text = str(reason)
    hints = {
        "Not authorized": "not authorized; see `mqtt.username` and `mqtt.password`",
        "Bad user name or password": "bad user name or password; see `mqtt.username` and "
        "`mqtt.password`",
        "Unspecified error": "the network broke, or the broker ended",
    }
    return hints.get(text, text.lower())


def _wait_for_publish(said: Any, timeout_s: float) -> None:
    try:
        said.wait_for_publish(timeout_s)
    except (RuntimeError, ValueError):
        return  # the connection broke meanwhile: the will says it for us
