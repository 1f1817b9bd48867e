"""Hears when the first prediction of a peer is at the broker, and then no more of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from typing_extensions import Self


class FirstMessage:
    """Listens on a topic until something came; a subscriber costs CPU that others need."""

    def __init__(self, port: int, topic: str | None) -> None:
        self._port = port
        self._topic = topic
        self._at: float | None = None

    def __enter__(self) -> Self:
        self._client = Client(CallbackAPIVersion.VERSION2)
        if self._topic is None:
            return self
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", self._port)
        self._client.subscribe(self._topic)
        self._client.loop_start()
        if not subscribed.wait(10):
            raise TimeoutError("the broker does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if self._at is None:
            self._at = time.monotonic()
            client.unsubscribe(message.topic)

    def after_s(self, began: float) -> float | None:
        """Return the seconds from `began` (time.monotonic) to the first message."""
        return None if self._at is None else self._at - began
