"""A web server that answers as it is told to: honestly, or with one of many lies."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pki import Files
    from typing_extensions import Self

PIECE = b"x" * 65536


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    """Names in small letters."""


class Wire:
    """The connection to one client."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection = connection
        self.over = over
        """The server is to end."""

    def head(self, status: str, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset(self) -> None:
        """Drop the connection so that the client's next read fails."""
        linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._connection.close()


Answer = Callable[[Asked, Wire], None]


def honest(content: bytes, *, etag: str = "", ranges: bool = True) -> Answer:
    """Send it, or the part that was asked for."""

    def answer(asked: Asked, wire: Wire) -> None:
        tag = {"ETag": etag} if etag else {}
        same = asked.headers.get("if-range", etag) == etag
        if ranges and same and "range" in asked.headers:
            start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
            rest = content[start:]
            told = f"bytes {start}-{len(content) - 1}/{len(content)}"
            wire.head("206 Partial Content", Content_Length=len(rest), Content_Range=told, **tag)
            wire.send(rest)
        else:
            wire.head("200 OK", Content_Length=len(content), **tag)
            wire.send(content)

    return answer


def breaking_off(content: bytes, at: int, *, reset: bool = False, etag: str = "") -> Answer:
    """Promise all of it, and end after `at` bytes."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.head("200 OK", Content_Length=len(content), **({"ETag": etag} if etag else {}))
        wire.send(content[:at])
        if reset:
            wire.reset()

    return answer


def falling_silent(content: bytes, at: int) -> Answer:
    """Send `at` bytes, then nothing more, with the connection open."""

    def answer(asked: Asked, wire: Wire) -> None:
        breaking_off(content, at)(asked, wire)
        wire.over.wait()

    return answer


def trickling(start: bytes, piece: bytes, pause_s: float) -> Answer:
    """Send a start, and then one piece after the other, slowly, for ever."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.send(start)
        while not wire.over.wait(pause_s):
            wire.send(piece)

    return answer


def endless(**headers: object) -> Answer:
    """Send for ever, as fast as it is read."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.head("200 OK", **headers)
        while not wire.over.is_set():
            wire.send(PIECE)

    return answer


def of_length(content: bytes, told: int) -> Answer:
    """Send it with another length than it has."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.head("200 OK", Content_Length=told)
        wire.send(content)

    return answer


def in_chunks(content: bytes, *, whole: bool = True) -> Answer:
    """Send it in chunks, without a length; the last one is missing unless `whole`."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.head("200 OK", Transfer_Encoding="chunked")
        for at in range(0, len(content), 1000):
            chunk = content[at : at + 1000]
            wire.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if whole:
            wire.send(b"0\r\n\r\n")

    return answer


def packed(content: bytes) -> Answer:
    """Compress it, though nobody asked."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        data = gzip.compress(content)
        wire.head("200 OK", Content_Length=len(data), Content_Encoding="gzip")
        wire.send(data)

    return answer


def other_part(content: bytes) -> Answer:
    """Send the beginning where the rest was asked for, and call it a part."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        told = f"bytes 0-{len(content) - 1}/{len(content)}"
        wire.head("206 Partial Content", Content_Length=len(content), Content_Range=told)
        wire.send(content)

    return answer


def redirect(location: str, status: str = "302 Found") -> Answer:
    """Send the client elsewhere."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.head(status, Location=location, Content_Length=0)

    return answer


def saying(raw: bytes) -> Answer:
    """Send these very bytes, which may be no HTTP."""

    def answer(asked: Asked, wire: Wire) -> None:
        del asked
        wire.send(raw)

    return answer


class LyingServer:
    """Serves on a free port of this machine; each path has its answers, the last one for good."""

    def __init__(self, tls: Files | None = None, *, port: int = 0) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []
        self._tls = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls.certificate, tls.key)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="lying-server")
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def at(self, path: str, *answers: Answer) -> str:
        """Have a path answer so, one request after the other; return its URL."""
        self.answers[path] = list(answers)
        return self.url + path

    def asked_for(self, path: str) -> list[Asked]:
        """Return the requests for a path."""
        return [each for each in self.asked if each.path == path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in (self._thread, *self._threads):
            thread.join()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(10)  # so that no test waits for a thread for ever
            thread = threading.Thread(target=self._talk, args=[connection])
            thread.start()
            self._threads.append(thread)

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                path = lines.readline().split()[1].decode()
                headers = {}
                while line := lines.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                asked = Asked(path, headers)
                self.asked.append(asked)
                answers = self.answers.get(path, [saying(NOT_FOUND)])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                answer(asked, Wire(connection, self._over))


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
