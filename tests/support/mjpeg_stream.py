"""A network camera: JPEGs over HTTP, as multipart/x-mixed-replace, which can go and come back."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


class MjpegStream:
    """Shows pictures in turn to whoever connects, on a port of 127.0.0.1 that stays the same."""

    def __init__(self, jpegs: list[bytes], fps: float) -> None:
        self._jpegs, self._period_s = jpegs, 1 / fps
        self._lock = threading.Lock()
        self._viewers: list[socket.socket] = []
        self._gone = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/stream.mjpg"
        self._serve()

    def _serve(self) -> None:
        self._gone = threading.Event()
        threading.Thread(
            target=self._accept, args=(self._listening, self._gone), daemon=True
        ).start()

    def _accept(self, listening: socket.socket, gone: threading.Event) -> None:
        while not gone.is_set():
            with suppress(OSError):
                viewer, _ = listening.accept()
                with self._lock:
                    self._viewers.append(viewer)
                threading.Thread(target=self._show, args=(viewer, gone), daemon=True).start()

    def _show(self, viewer: socket.socket, gone: threading.Event) -> None:
        with suppress(OSError):
            viewer.recv(65536)
            viewer.sendall(HEAD)
            number = 0
            while not gone.wait(self._period_s):
                jpeg = self._jpegs[number % len(self._jpegs)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                viewer.sendall(head.encode() + jpeg + b"\r\n")
                number += 1
        viewer.close()
        with self._lock, suppress(ValueError):
            self._viewers.remove(viewer)

    def vanish(self) -> None:
        """End all connections and listen no more."""
        self._gone.set()
        # A thread in `accept` keeps a closed socket alive; shut down, it returns.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for viewer in self._viewers:
                with suppress(OSError):
                    viewer.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Be there again."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._serve()
