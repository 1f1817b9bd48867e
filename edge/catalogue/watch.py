"""Cuts a connection on which too little comes, whatever the server does meanwhile."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.catalogue.urls import Access

SLOWEST_BYTES_S = 256


class Watch:
    """A thread that looks, once in `stall_s`, at how many bytes came since.

    A socket's own timeout is for each piece: headers, chunks, trailers or a TLS handshake that
    trickle in would have no end.
    """

    def __init__(self, connection: socket.socket, stall_s: float) -> None:
        self.stall_s = stall_s
        self.cut = False
        """Whether it came to that."""
        self._connection = connection.dup()  # TLS takes the socket over, and we keep hold of it
        self._came = 0
        self._over = threading.Event()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def came(self, count: int) -> None:
        """Take note of bytes that came."""
        self._came += count

    def got_further(self) -> None:
        """Take note that something is done: what is next has a time of its own."""
        self._came += round(SLOWEST_BYTES_S * self.stall_s) + 1

    def end(self) -> None:
        """Leave the connection alone."""
        self._over.set()

    def _look(self) -> None:
        with self._connection:
            while not self._over.wait(self.stall_s):
                if self._came < SLOWEST_BYTES_S * self.stall_s:
                    self.cut = True
                    with suppress(OSError):
                        self._connection.shutdown(socket.SHUT_RDWR)
                    return
                self._came = 0


class WatchedResponse(http.client.HTTPResponse):
    """An answer on a watched connection."""

    watch: Watch


def watched(kind: Any, access: Access) -> Any:
    """Return a kind of connection that is watched from its first moment to its last."""

    class Connection(kind):  # type: ignore[misc]  # either of two bases
        response_class = WatchedResponse

        def connect(self) -> None:
            self._create_connection = self._connected
            with self._in_time():
                super().connect()
            self.sock.settimeout(access.stall_s)
            self.watch.got_further()

        def _connected(self, *arguments: Any) -> socket.socket:
            connection = socket.create_connection(*arguments)
            self.watch = Watch(connection, access.stall_s)
            return connection

        def getresponse(self) -> Any:
            with self._in_time():
                response = super().getresponse()
                if self.watch.cut:  # to the parser the end of a connection ends the headers
                    response.close()
                    raise TimeoutError
            response.watch = self.watch
            self.watch.got_further()
            return response

        @contextmanager
        def _in_time(self) -> Iterator[None]:
            try:
                yield
            except (OSError, http.client.HTTPException) as error:
                watch: Watch | None = getattr(self, "watch", None)
                if watch is not None:
                    watch.end()
                    if watch.cut:
                        raise TimeoutError from error
                raise

    return Connection
