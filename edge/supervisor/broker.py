"""The broker inside the project: rumqttd, from the iotcore wheel, in a process of its own."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

from edge.errors import SinkError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"


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
        self._broker = Broker(port=self.port, listen=HOST)

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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
