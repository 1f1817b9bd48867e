"""Metrics for Prometheus: a textfile that node_exporter collects, or an HTTP port on 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from edge.errors import SinkError
from edge.messages import Info, Message, Metrics
from edge.options import FilePath
from edge.sinks.base import Sink, SinkOptions
from edge.sinks.exposition import exposition

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
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

    def make(self) -> Sink:
        """Return the sink these options describe."""
        if self.path is not None:
            return Textfile(self.path)
        return HttpPort(self.port or 0)


class Prometheus(Sink):
    """Keeps the newest metrics of each pipeline that the device has."""

    def __init__(self) -> None:
        self._newest: dict[str, Metrics] = {}

    def send(self, message: Message) -> None:
        """Take in metrics. Raises SinkError when they cannot be handed on now."""
        if isinstance(message, Metrics):
            self._newest[message.pipeline] = message
            self._changed()
        elif isinstance(message, Info):  # a reload may have taken a pipeline away
            for name in self._newest.keys() - message.pipelines.keys():
                del self._newest[name]

    def text(self) -> str:
        """Return what Prometheus reads."""
        return exposition(self._newest.values())

    def _changed(self) -> None:
        """Hand on what is new. Raises SinkError."""
        raise NotImplementedError


class Textfile(Prometheus):
    """Writes the file beside its place and renames it, so that nobody reads half of it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")

    def _changed(self) -> None:
        try:
            self._beside.write_text(self.text(), encoding="utf-8")
            self._beside.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                self._beside.unlink()
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from error


class HttpPort(Prometheus):
    """Answers `GET /metrics` from the supervisor's loop, to a few scrapers at a time."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self._connections = 0

    def _changed(self) -> None:
        """Listen, if it does not yet: at a reload the one before has to let the port go."""
        if self._socket is not None:
            return
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, self._port))
        except OSError as error:
            listening.close()
            raise SinkError(
                f"Prometheus cannot be served on {HOST}:{self._port}: {error.strerror}"
            ) from error
        listening.setblocking(False)
        self._socket = listening
        self._serving = asyncio.get_running_loop().create_task(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(self._answer, sock=listening, limit=MOST_REQUEST_BYTES)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                await asyncio.wait_for(self._exchange(reader, writer), REQUEST_LIMIT_S)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # a scraper that speaks no HTTP, or not in time, gets no answer
        finally:
            self._connections -= 1
            writer.close()

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = request.partition(b" ")
        target = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method != b"GET":
            status, body = "405 Method Not Allowed", b"only GET\n"
        elif target != b"/metrics":
            status, body = "404 Not Found", b"/metrics is here\n"
        else:
            status, body = "200 OK", self.text().encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()

    def close(self) -> None:
        """Let go of the port."""
        if self._serving is not None:
            self._serving.cancel()
        if self._socket is not None:
            self._socket.close()
