"""Where everything the daemon says leaves it: the log, the broker, and the sinks beside it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, get_args

from edge.event_names import EventName
from edge.identity import client_id
from edge.messages import Event, Message
from edge.sinks.mqtt import MqttSink
from edge.supervisor import clock
from edge.supervisor.log import log
from edge.supervisor.watched_sink import WatchedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge.config.device import Device
    from edge.mqtt.access import Access
    from edge.mqtt.certificates import Certificate
    from edge.spool.spool import Spool

PUBLISHED = frozenset(get_args(EventName))
LEVELS = {
    "broker_connected": logging.INFO,
    "spool_found": logging.INFO,
    "spool_drained": logging.INFO,
}


class Outlet:
    """What is told is logged, and published where it is an event for subscribers."""

    def __init__(
        self,
        device: Device,
        *,
        access: Access,
        boot: str,
        spool: Spool,
        sequence: Iterator[int],
        changed: Callable[[], None],
        answered: Callable[[str, str, Sequence[Mapping[str, Any]]], None],
    ) -> None:
        """`changed` is called when the info message has to be made anew.

        `answered` hears pipeline, source and predictions of each result, published or not.

        `sequence` numbers the events; it and the `spool` outlive a reload.
        """
        self.device = device.device
        self.boot = boot
        self.base_topic = device.mqtt.base_topic
        self.changed = changed
        self.answered = answered
        self.clock_synced = clock.synced()
        self._sequence = sequence
        self._sinks = [WatchedSink(options, self.tell) for options in device.sinks]
        self.spool = spool
        self.access = access
        self._ends_told: dict[Certificate, str] = {}
        self._broker = MqttSink(
            access,
            client_id=client_id(device.device),
            keepalive_s=device.mqtt.keepalive_s,
            base_topic=device.mqtt.base_topic,
            device=device.device,
            boot=boot,
            spool=spool,
            on_event=self._broker_event,
        )
        self.retain = self._broker.retain
        self.put = self._broker.put
        self.publish = self._broker.connection.publish
        self.subscribe = self._broker.connection.subscribe
        self.unsubscribe = self._broker.connection.unsubscribe

    @property
    def waiting(self) -> int:
        """How many messages the broker has not acknowledged."""
        return len(self.spool)

    @property
    def spooled(self) -> int:
        """How many of them lie on disk."""
        return self.spool.on_disk

    @property
    def given_up(self) -> int:
        """How many messages were dropped because too many waited, or for too long."""
        return self.spool.dropped

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._broker.connection.connected

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return self._broker.connection.address

    def start(self) -> None:
        """Begin to connect, to deliver what waits, and to use the other sinks."""
        self.spool.on_event = self._broker_event
        for remark in self.access.remarks:
            log(logging.WARNING, "not_secret", remark)
        self._broker.start()
        for sink in self._sinks:
            sink.start()

    async def tend(self) -> None:
        """Have the spool look after what waits; to be called every second."""
        self.spool.clock_synced = self.clock_synced
        if await self.spool.tend():
            self._broker.forget_ahead()

    async def stop(self, timeout_s: float) -> None:
        """Deliver what waits, as far as the time allows, say offline, disconnect."""
        await self._broker.stop(timeout_s)
        for sink in self._sinks:
            sink.close()

    def send(
        self,
        message: Message,
        *,
        acknowledged: Callable[[], None] | None = None,
        accepted: Callable[[], None] | None = None,
    ) -> None:
        """Publish a message.

        `accepted` is called when it is recorded, so that nothing short of a power cut loses it,
        `acknowledged` when the broker has it.
        """
        self._broker.send(message, acknowledged=acknowledged, accepted=accepted)
        for sink in self._sinks:
            sink.send(message)

    def tell(
        self,
        event: EventName,
        message: str,
        *,
        pipeline: str | None = None,
        level: int = logging.INFO,
        **details: Any,
    ) -> None:
        """Log an event and publish it."""
        where = {} if pipeline is None else {"pipeline": pipeline}
        log(level, event, message, **where, **details)
        self.send(
            Event(
                device=self.device,
                boot=self.boot,
                pipeline=pipeline,
                sequence=next(self._sequence),
                at=clock.utc(),
                clock_synced=self.clock_synced,
                event=event,
                message=message,
                details=details,
            )
        )

    def tell_of_certificates(self) -> None:
        """Tell of each certificate that will not be valid for long, once a day.

        One that is not valid yet is nothing for subscribers: the clock may not be set so far.
        """
        now = time.time()
        for certificate in self._broker.connection.certificates:
            warning = certificate.warning(now)
            if warning is None or self._ends_told.get(certificate) == warning:
                continue
            self._ends_told[certificate] = warning
            if now < certificate.begins_at:
                log(logging.WARNING, "certificate_not_valid", warning)
            else:
                self.tell("certificate_expiring", warning, level=logging.WARNING)

    def _broker_event(self, event: Any, message: str) -> None:
        level = LEVELS.get(event, logging.WARNING)
        if event in PUBLISHED:
            self.tell(event, message, level=level)
        else:
            log(level, event, message)
