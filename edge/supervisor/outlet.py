"""Where everything the daemon says leaves it: the log, the broker, and the sinks beside it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, get_args

from edge.messages import Event, EventName, Message
from edge.sinks.mqtt import MqttSink
from edge.supervisor import clock
from edge.supervisor.identity import client_id
from edge.supervisor.log import log
from edge.supervisor.watched_sink import WatchedSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.device import Device

PUBLISHED = frozenset(get_args(EventName))
LEVELS = {"broker_connected": logging.INFO}


class Outlet:
    """What is told is logged, and published where it is an event for subscribers."""

    def __init__(
        self,
        device: Device,
        *,
        broker: str,
        password: str | None,
        boot: str,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the info message has to be made anew."""
        self.device = device.device
        self.boot = boot
        self.changed = changed
        self.clock_synced = clock.synced()
        self._sinks = [WatchedSink(options, self.tell) for options in device.sinks]
        self._broker = MqttSink(
            broker=broker,
            client_id=client_id(device.device),
            username=device.mqtt.username,
            password=password,
            keepalive_s=device.mqtt.keepalive_s,
            base_topic=device.mqtt.base_topic,
            device=device.device,
            boot=boot,
            limit=device.mqtt.max_waiting,
            on_event=self._broker_event,
        )

    @property
    def waiting(self) -> int:
        """How many messages the broker has not acknowledged."""
        return self._broker.waiting

    @property
    def given_up(self) -> int:
        """How many messages were dropped because too many waited."""
        return self._broker.given_up

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._broker.connected

    @property
    def address(self) -> str:
        """The broker, as a log names it."""
        return self._broker.address

    def start(self) -> None:
        """Begin to connect, and to use the other sinks."""
        self._broker.start()
        for sink in self._sinks:
            sink.start()

    async def stop(self, timeout_s: float) -> int:
        """Deliver what waits, say offline, disconnect; return how many were not delivered."""
        lost = await self._broker.stop(timeout_s)
        for sink in self._sinks:
            sink.close()
        if lost:
            log(
                logging.WARNING,
                "undelivered",
                f"{lost} messages were not acknowledged by {self.address} and are lost",
            )
        return lost

    def send(self, message: Message, acknowledged: Callable[[], None] | None = None) -> None:
        """Publish a message; `acknowledged` is called when the broker has it."""
        self._broker.send(message, acknowledged)
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
                at=clock.utc(),
                clock_synced=self.clock_synced,
                event=event,
                message=message,
                details=details,
            )
        )

    def _broker_event(self, event: Any, message: str) -> None:
        level = LEVELS.get(event, logging.WARNING)
        if event in PUBLISHED:
            self.tell(event, message, level=level)
        else:
            log(level, event, message)
