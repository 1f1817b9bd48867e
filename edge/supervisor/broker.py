"""The broker inside the project: rumqttd, from the iotcore wheel, in a process of its own."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

from edge.config.load import broker_access, tell_access
from edge.config.mqtt import embedded_port
from edge.errors import SinkError

if TYPE_CHECKING:
    from contextlib import ExitStack
    from types import TracebackType

    from typing_extensions import Self

    from edge.config.device import Device
    from edge.mqtt.access import Access

HOST = "127.0.0.1"
LARGEST_PAYLOAD = 5 << 20  # bytes; its own default, 20 KiB, ends a client that sends a picture


class EmbeddedBroker:
    """An MQTT broker on 127.0.0.1, for as long as the `with` lasts."""

    def __init__(self, port: int = 0) -> None:
        """Choose the port; 0 takes a free one. Raises SinkError when there is no broker here."""
        try:
            from iotcore import Broker
        except ImportError as error:
            raise SinkError(
                f"the embedded broker cannot be loaded ({error}): `pip install iotcore`, or name "
                "another broker under `mqtt.broker`"
            ) from error
        self.port = port or _free_port()
        self._broker = Broker(port=self.port, listen=HOST, max_payload_size=LARGEST_PAYLOAD)

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"mqtt://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        """Start it and wait until it listens. Raises SinkError when it does not."""
        # Ctrl-C reaches all processes of a terminal; the broker must outlive the last message,
        # and a child inherits the signals that are blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._broker.start()
        except (OSError, RuntimeError) as error:
            raise SinkError(f"the embedded broker did not start: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._broker.stop()


class Brokers:
    """Where a configuration's broker is, which may be one inside this daemon."""

    def __init__(self, overruling: str | None, until_the_end: ExitStack) -> None:
        """`overruling` is a URL instead of the YAML's; brokers in here end with the stack."""
        self._overruling = overruling
        self._until_the_end = until_the_end
        self._embedded: dict[int, EmbeddedBroker] = {}

    def access(self, device: Device) -> Access:
        """Return the way to it. Raises ConfigError, or SinkError where one in here cannot start."""
        return broker_access(device.mqtt, self._url(device))

    def told(self, device: Device, name: str) -> str | None:
        """Return what a pipeline's worker must know of it; None where it needs nothing."""
        sources = device.pipelines[name].all_sources.values()
        if not any(source.from_broker for source in sources):
            return None
        return tell_access(device.mqtt, self._url(device))

    def _url(self, device: Device) -> str:
        broker = self._overruling or device.mqtt.broker
        if port := embedded_port(broker):
            if port not in self._embedded:
                self._embedded[port] = self._until_the_end.enter_context(EmbeddedBroker(port))
            broker = self._embedded[port].url
        return broker


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
