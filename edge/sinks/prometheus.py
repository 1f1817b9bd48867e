"""Metrics for Prometheus: a textfile that node_exporter collects, or an HTTP port on 127.0.0.1."""

from __future__ import annotations

import abc
import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from edge.errors import SinkError
from edge.health import Health
from edge.messages import Info, Message, Metrics
from edge.options import FilePath
from edge.sinks.base import Sink, SinkOptions, verify_file
from edge.sinks.exposition import exposition

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

HOST = "127.0.0.1"
MOST_REQUEST_BYTES = 8192
REQUEST_LIMIT_S = 5.0
MOST_CONNECTIONS = 8
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusOptions(SinkOptions):
    """Metrics for Prometheus."""

    type: Literal["prometheus"] = Field(description="Metrics for Prometheus.")
    path: FilePath | None = Field(
        default=None,
        description="A file ending in `.prom` in the folder of node_exporter's textfile collector.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A port on 127.0.0.1 that answers `GET /metrics`; either this or `path`.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.path is None) == (self.port is None):
            raise ValueError("give either `path` or `port`")
        if self.path is not None and self.path.suffix != ".prom":
            raise ValueError("`path` must end in .prom: node_exporter reads no other file")
        return self

    @property
    def place(self) -> str:
        """The file, or the address."""
        return str(self.path) if self.path is not None else f"{HOST}:{self.port}"

    def verify(self) -> None:
        """Raise SinkError when there is no folder for the file."""
        if self.path is not None:
            verify_file(self.path)

    def make(self) -> Sink:
        """Return the sink these options describe."""
        return Textfile(self.path) if self.path is not None else HttpPort(self.port or 0)


class Prometheus(Sink):
    """Keeps the newest metrics of each pipeline that the device has, and of the machine."""

    wanted = frozenset({Metrics.topic_name, Info.topic_name, Health.topic_name})

    def __init__(self) -> None:
        self._newest: dict[str, Metrics] = {}
        self._health: Health | None = None

    def start(self) -> None:
        """Hand on that there is nothing yet. Raises SinkError when that cannot be done now."""
        self._hand_on()

    def send(self, message: Message) -> None:
        """Take in what is new, and hand it on. Raises SinkError when that cannot be done now."""
        if isinstance(message, Metrics):
            self._newest.pop(message.pipeline, None)  # so that the newest is the last of them
            self._newest[message.pipeline] = message
        elif isinstance(message, Health):
            self._health = message
        elif isinstance(message, Info):  # a reload may have taken a pipeline away
            for name in self._newest.keys() - message.pipelines.keys():
                del self._newest[name]
        self._hand_on()

    @abc.abstractmethod
    def _hand_on(self) -> None:
        """Let Prometheus have the text. Raises SinkError."""

    def text(self) -> bytes:
        """Return what Prometheus reads."""
        return exposition(list(self._newest.values()), self._health).encode(errors="replace")


class Textfile(Prometheus):
    """Writes the file beside its place and renames it, so that nobody reads half of it.

    It is empty until there are metrics, lest the last run's pass for this one's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._beside = path.with_name(f".{path.name}.tmp")

    def _hand_on(self) -> None:
        try:
            self._beside.write_bytes(self.text())
            self._beside.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                self._beside.unlink()
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from error


class HttpPort(Prometheus):
    """Answers `GET /metrics` from the supervisor's loop, a few scrapers at a time."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._listening: socket.socket | None = None
        self._answers: set[asyncio.Task[None]] = set()

    def _hand_on(self) -> None:
        """Listen, if it does not yet: the text is made for who asks."""
        if self._listening is not None:
            return
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        try:
            listening.bind((HOST, self._port))
            listening.listen(MOST_CONNECTIONS)
        except OSError as error:
            listening.close()
            raise SinkError(
                f"Prometheus cannot be served on {HOST}:{self._port}: {error.strerror}"
            ) from error
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # who came has gone
        except OSError:  # no file descriptor left: trying on would spin
            self.close()
            return
        connection.setblocking(False)
        if len(self._answers) >= MOST_CONNECTIONS:
            connection.close()
            return
        answer = asyncio.get_running_loop().create_task(self._answer(connection))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, connection: socket.socket) -> None:
        """Answer, or not who speaks no HTTP, or too slowly."""
        with connection, suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._exchange(connection), REQUEST_LIMIT_S)

    async def _exchange(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        request = b""
        while b"\r\n\r\n" not in request:
            received = await loop.sock_recv(connection, MOST_REQUEST_BYTES)
            request += received
            if not received or len(request) > MOST_REQUEST_BYTES:
                return
        await loop.sock_sendall(connection, self._response(request))

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        target = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method != b"GET":
            status, body = "405 Method Not Allowed\r\nAllow: GET", b"only GET\n"
        elif target != b"/metrics":
            status, body = "404 Not Found", b"/metrics is here\n"
        else:
            status, body = "200 OK", self.text()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def close(self) -> None:
        """Let go of the port, at once: the next configuration may want it."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
