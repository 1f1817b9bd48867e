"""A TCP proxy before a broker that cuts, stalls and resets connections when it is told to."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST and forgets what is unsent


class Proxy:
    """Listens on a free port of 127.0.0.1 and hands all on to another, both ways."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.accepted = 0
        """Connections that were made through us so far."""
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._stalled_until = 0.0
        self.turning_away = False
        """Whether new connections are closed as soon as they are made, as a dead service's are."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self.shut()

    @property
    def connections(self) -> int:
        """How many there are now."""
        with self._lock:
            return len(self._pairs) // 2

    def cut(self, *, reset: bool = False) -> int:
        """End all connections, in order or with a reset; returns how many there were."""
        with self._lock:
            ended = list(self._pairs)
            self._pairs.clear()
        for each in ended:
            with contextlib.suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                each.close()
        return len(ended) // 2

    def shut(self) -> None:
        """End all connections and listen no more, so that the next are refused."""
        self._listening.close()
        self.cut(reset=True)

    def open(self) -> None:
        """Listen again, where it was shut."""
        if self._listening.fileno() < 0:
            self._listening = socket.create_server(("127.0.0.1", self.port))

    def stall(self, seconds: float) -> None:
        """Hand nothing on for so long, as a link does that is up and dead."""
        self._stalled_until = time.monotonic() + seconds

    def _run(self) -> None:
        while not self._closed.is_set():
            if (rest_s := self._stalled_until - time.monotonic()) > 0:
                self._closed.wait(min(rest_s, 0.05))
                continue
            listening = self._listening
            with self._lock:
                ends = list(self._pairs)
            if listening.fileno() >= 0:
                ends.append(listening)
            try:
                ready, _, _ = select.select(ends, [], [], 0.02)
            except (OSError, ValueError):
                continue  # one of them was cut meanwhile
            for each in ready:
                if each is listening:
                    self._accept(listening)
                else:
                    self._hand_on(each)

    def _accept(self, listening: socket.socket) -> None:
        try:
            near, _ = listening.accept()
        except OSError:
            return  # shut meanwhile
        self.accepted += 1
        try:
            if self.turning_away:
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        with self._lock:
            self._pairs[near], self._pairs[far] = far, near

    def _hand_on(self, one: socket.socket) -> None:
        other = self._pairs.get(one)
        try:
            data = one.recv(65536)
            if data and other is not None:
                other.sendall(data)
                return
        except OSError:
            pass  # ended below
        with self._lock:
            pair = [end for end in (one, self._pairs.pop(one, None)) if end is not None]
            for end in pair:
                self._pairs.pop(end, None)
        for end in pair:
            end.close()
