"""Somebody who gives commands to a device over MQTT, and hears what becomes of them."""

from __future__ import annotations

import json
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from parties import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


class Operator:
    """Somebody who gives commands and hears all that is said."""

    def __init__(
        self, port: int, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> None:
        self._changed = threading.Condition()
        self.heard: list[MQTTMessage] = []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.max_queued_messages_set(0)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_connect = lambda client, *_: client.subscribe([("edge/#", 1), ("my/#", 1)])
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        with self._changed:
            self.heard.append(message)
            self._changed.notify_all()

    def wait_for(self, topic: str, fits: Callable[[MQTTMessage], bool] = lambda _: True) -> Any:
        end = time.monotonic() + PATIENCE_S
        with self._changed:
            while True:
                for message in self.heard:
                    if message.topic == topic and fits(message):
                        return message
                if not self._changed.wait(end - time.monotonic()):
                    topics = [(each.topic, each.payload[:200]) for each in self.heard[-5:]]
                    raise TimeoutError(f"nothing that fits on {topic}: {topics}")

    def publish(self, topic: str, payload: bytes, retain: bool = False, **wanted: Any) -> Any:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in wanted.items():
            setattr(properties, name, value)
        return self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def ask(self, command: str, **request: Any) -> Any:
        """Give a command in MQTT 5's way; return the answer."""
        correlation = secrets.token_bytes(12)
        self.publish(
            f"edge/dev/command/{command}",
            json.dumps(request).encode(),
            ResponseTopic="my/answers",
            CorrelationData=correlation,
        )
        answer = self.wait_for(
            "my/answers", lambda m: getattr(m.properties, "CorrelationData", b"") == correlation
        )
        return json.loads(answer.payload)

    def forget(self) -> None:
        """Forget all that was heard."""
        with self._changed:
            self.heard.clear()

    def result_after(self) -> None:
        """Wait for a result that comes from now on."""
        asked_s = time.monotonic()
        self.wait_for("edge/dev/cam/predictions", lambda m: m.timestamp > asked_s)

    def wait_for_return(self) -> None:
        """Wait until a daemon hears commands that was not there when we forgot all."""
        self.wait_for("edge/dev/status", lambda m: m.payload == b"online")

    def of(self, topic: str) -> list[Any]:
        with self._changed:
            return [json.loads(each.payload) for each in self.heard if each.topic == topic]
