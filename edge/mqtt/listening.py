"""Hears topics for a command line tool, in a thread of its own; connects anew for ever."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError
from edge.mqtt.client import MQTT_3_1_1, MQTT_5, connect_properties, new_client
from edge.mqtt.reasons import why_lost, why_not_taken, why_refused, why_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from typing_extensions import Self

    from edge.mqtt.access import Access

KEEPALIVE_S = 30
ANSWER_S = 10.0  # a broker that says nothing for so long is none
STEP_S = 0.2  # an end that is asked for is seen within this time
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


class Listening:
    """Subscribed for as long as the `with` lasts; MQTT 5 first, then 3.1.1, by turns.

    Messages are handed over where they are read, so a flood waits in the network and not here.
    """

    def __init__(
        self,
        access: Access,
        topics: Sequence[tuple[str, int]],
        take: Callable[[str, bytes, bool], None],
    ) -> None:
        """`topics` are (filter, QoS); `take` hears (topic, payload, retained) in our thread."""
        self._access = access
        self._topics = topics
        self._take = take
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._client: Client | None = None
        self._stopped = threading.Event()
        self._tried = threading.Event()
        self._to_confirm: dict[int | None, str] = {}
        self._clock: tuple[float, float | None] = (0.0, None)  # before, and connected since
        self.trouble = ""
        """Why it is not connected, in a sentence, or what may not be read."""

    @property
    def connected(self) -> bool:
        """Whether the broker has confirmed all subscriptions, and is there still."""
        return self._clock[1] is not None

    @property
    def listened_s(self) -> float:
        """For how long it was connected: a clock that stands still while nothing can be heard."""
        before_s, since_s = self._clock
        return before_s if since_s is None else before_s + time.monotonic() - since_s

    def __enter__(self) -> Self:
        """Connect and subscribe. Raises EdgeError when the broker cannot be had now."""
        self._thread.start()
        self._tried.wait()
        if not self.connected:
            self._stop()
            raise EdgeError(self.trouble)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, once. Raises EdgeError where the broker is not there."""
        client = self._client
        if client is None or not self.connected:
            raise EdgeError(self.trouble or f"{self._access.address} is not there")
        client.publish(topic, payload, qos=1)

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopped.is_set():
            for protocol in (MQTT_5, MQTT_3_1_1):
                was_there = self._session(protocol)
                if was_there or self._stopped.is_set():
                    break
            pause_s = FIRST_PAUSE_S if was_there else min(2 * pause_s, LONGEST_PAUSE_S)
            self._tried.set()
            self._stopped.wait(pause_s * random.uniform(0.5, 1))  # noqa: S311

    def _session(self, protocol: int) -> bool:
        """Stay connected for as long as that lasts; return whether it was at all."""
        from paho.mqtt.enums import MQTTErrorCode

        client = self._client = new_client(self._access, protocol=protocol)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._refused = self._was_there = False
        host, port = self._access.host, self._access.port
        properties = connect_properties(protocol)
        try:
            client.connect(host, port, keepalive=KEEPALIVE_S, properties=properties)
        except (OSError, ValueError) as error:  # a host name may be none
            self.trouble = why_unreachable(error, self._access).sentence
            return False
        patience = time.monotonic() + ANSWER_S
        while client.loop(STEP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._stopped.is_set():
            if not self.connected and time.monotonic() > patience:
                self.trouble = f"{self._access.address} does not answer"
                break
        self._clock = (self.listened_s, None)
        client.disconnect()
        return self._was_there

    # What follows is called by the client, within `loop`.

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refused = True
            self.trouble = why_refused(reason, self._access).sentence
            return
        self._to_confirm = {
            client.subscribe(topic_filter, qos)[1]: topic_filter
            for topic_filter, qos in self._topics
        }
        self.trouble = ""

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        topic_filter = self._to_confirm.pop(number, "")
        for reason in reasons:
            if reason.is_failure:
                what = f"a subscription to {topic_filter}"
                self.trouble = why_not_taken(what, reason, self._access).sentence
        if not self._to_confirm:
            self._clock = (self.listened_s, time.monotonic())
            self._was_there = True
            self._tried.set()

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not self._refused and not self._stopped.is_set():
            self.trouble = why_lost(reason, self._access).sentence

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours
        self._take(topic, bytes(message.payload), bool(message.retain))
