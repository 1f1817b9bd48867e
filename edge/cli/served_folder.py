"""Serves one model's folder over HTTP, and nothing else, for as long as somebody fetches it."""

from __future__ import annotations

import contextlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from edge.catalogue.card import CARD, SIGNATURE
from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.catalogue.card import Card

STALLED_S = 30.0


@contextlib.contextmanager
def served(folder: Path, card: Card, host: str, port: int) -> Iterator[str]:
    """Yield the URL of the card; only what the card names is given out. Raises EdgeError."""
    names = {f"/{card.name}/{name}": name for name in (CARD, SIGNATURE, *card.files)}
    try:
        server = _Server((host.strip("[]"), port), folder, names)
    except OSError as error:
        raise EdgeError(f"--serve {host}:{port}: cannot listen there: {error.strerror}") from None
    thread = threading.Thread(target=server.serve_forever, name="serve", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{port}/{card.name}/{CARD}"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], folder: Path, names: dict[str, str]) -> None:
        self.folder = folder
        self.names = names
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = STALLED_S

    def do_GET(self) -> None:
        """Send a file of the model."""
        name = self.server.names.get(self.path)
        if name is None:
            self.send_error(404)
            return
        try:
            with (self.server.folder / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(size))
                self.end_headers()
                shutil.copyfileobj(file, self.wfile)
        except ConnectionError:
            return  # whoever asked has gone
        except OSError:
            self.send_error(500)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: the device tells what it has."""
