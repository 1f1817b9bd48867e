"""The MQTT sink: what must arrive waits in the spool, what is retained is published anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from edge.messages import OFFLINE, ONLINE, Info, Message, status_topic
from edge.mqtt.connection import Connection
from edge.sinks.outbox import Outbox
from edge.spool.message import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.mqtt.access import Access
    from edge.mqtt.connection import Received
    from edge.spool.spool import Spool

MOST_TWINS = 100


class MqttSink:
    """Publishes messages; status and info are there again after every reconnect."""

    def __init__(
        self,
        access: Access,
        *,
        client_id: str,
        keepalive_s: int,
        base_topic: str,
        device: str,
        boot: str,
        spool: Spool,
        on_event: Callable[[str, str], None],
    ) -> None:
        """`on_event` hears (event, sentence): connected, lost, refused, taken over."""
        self._base_topic = base_topic
        self._status_topic = status_topic(base_topic, device)
        self._boot = boot
        self._twins: set[str] = set()
        self._was_here = False
        self._on_event = on_event
        self._spool = spool
        self._outbox = Outbox(spool, self._hand_on)
        self._retained: dict[str, bytes] = {}
        self._idle = asyncio.Event()
        self.connection = Connection(
            access,
            client_id=client_id,
            keepalive_s=keepalive_s,
            will=(self._status_topic, OFFLINE),
            on_event=on_event,
            on_connected=self._connected,
            on_published=self._published,
            on_replaced=self._outbox.take_back,
        )
        # Subscribed to before ours replaces what is retained there.
        self.connection.subscribe(f"{base_topic}/{device}/{Info.topic_name}", self._info_heard)

    def start(self) -> None:
        """Begin to connect, and go on trying; returns at once."""
        self._outbox.begin()
        self.connection.start()

    def send(
        self,
        message: Message,
        *,
        acknowledged: Callable[[], None] | None = None,
        accepted: Callable[[], None] | None = None,
    ) -> None:
        """Publish a message as its class says.

        What is retained replaces what was there; what may be lost is sent only while the
        broker is there; everything else is recorded (`accepted` is called), waits for the
        broker, in order, and stays until the broker has it (`acknowledged`).
        """
        topic, payload = message.topic(self._base_topic), message.to_json()
        if message.retain:
            self.retain(topic, payload)
        elif message.qos:
            outgoing = Outgoing(topic, payload, worth=message.worth)
            self._outbox.put(outgoing, acknowledged=acknowledged, accepted=accepted)
        else:
            self.connection.publish(topic, payload, qos=0)

    def put(self, outgoing: Outgoing, accepted: Callable[[], None] | None = None) -> None:
        """Publish what has a topic of its own and must arrive."""
        self._outbox.put(outgoing, accepted=accepted)

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish retained, now and after every reconnect; an empty payload removes."""
        self._retained[topic] = payload
        self.connection.publish(topic, payload, retain=True)

    def forget_ahead(self) -> None:
        """Hear that the spool has given up messages."""
        self._outbox.forget_ahead()

    async def stop(self, timeout_s: float) -> None:
        """Deliver what waits, as far as the time allows, say offline, disconnect."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._until_idle(), timeout_s)
        await self.connection.stop((self._status_topic, OFFLINE))

    async def _until_idle(self) -> None:
        while len(self._spool):
            self._idle.clear()
            await self._idle.wait()

    def _hand_on(self, message: Outgoing) -> int | None:
        return self.connection.publish(
            message.topic, message.payload, correlation=message.correlation
        )

    def _connected(self) -> None:
        self.connection.publish(self._status_topic, ONLINE, retain=True)
        for topic, payload in self._retained.items():
            self.connection.publish(topic, payload, retain=True)
        self._outbox.reconnected()

    def _published(self, number: int) -> None:
        self._outbox.acknowledge(number)
        if not len(self._spool):
            self._idle.set()

    def _info_heard(self, message: Received) -> None:
        """Notice a twin: somebody else who says, while we are here, that he is this device.

        Two clients of one id throw each other off for ever, and brokers do not tell them why.
        """
        ours_before, self._was_here = self._was_here, True
        if message.retain and not ours_before:
            return  # what is retained at our first coming is from our own last run
        try:
            boot = str(json.loads(message.payload)["boot"])[:64]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if boot != self._boot and boot not in self._twins and len(self._twins) < MOST_TWINS:
            self._twins.add(boot)
            self._on_event(
                "twin_found",
                f"another daemon (boot {boot}) says at {self.connection.address} that it is this "
                "device; is the name in use twice, or a machine a copy of another?",
            )
