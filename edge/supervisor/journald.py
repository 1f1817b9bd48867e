"""The log in the journal's own form, so that `journalctl EDGE_EVENT=worker_died` finds it.

Each field of an event is a field of the journal. The format and the socket are described in
https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "edge"
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
"""syslog(3)'s, by level."""
LONGEST_NAME = 64
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def is_the_journal(descriptor: int) -> bool:
    """Whether a descriptor is the one that systemd has led to the journal (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal(logging.Handler):
    """Sends each record to journald with its fields; where that fails, another handler has it."""

    def __init__(self, otherwise: logging.Handler) -> None:
        """`otherwise` takes what cannot be sent."""
        super().__init__()
        self._otherwise = otherwise
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # a journal that is busy must not hold up the daemon

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        fields = {
            "MESSAGE": record.getMessage(),
            "PRIORITY": PRIORITIES.get(record.levelno, 6),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
        }
        for key, value in getattr(record, "fields", {}).items():
            fields[_name(key)] = value
        try:
            self._send(entry(fields))
        except OSError:
            self._otherwise.handle(record)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, SOCKET)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # What is too long for a datagram goes in a file in memory.
            with _sealed(data) as file:
                passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))]
                self._socket.sendmsg([], passed, 0, SOCKET)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def entry(fields: Mapping[str, object]) -> bytes:
    """Return an entry as journald reads it; a value with line feeds has its length before it."""
    parts = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        data = text.encode("utf-8", "replace")
        if b"\n" in data:
            parts += [name.encode(), b"\n", len(data).to_bytes(8, "little"), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


def _sealed(data: bytes) -> BinaryIO:
    """Return a file in memory that nobody can change any more: journald reads no other."""
    file = os.fdopen(os.memfd_create("entry", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "w+b")
    file.write(data)
    file.flush()
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
    return file


def _name(key: str) -> str:
    """Return `EDGE_PIPELINE` for `pipeline`: a field's name is A to Z, digits and underscores."""
    return f"EDGE_{re.sub('[^A-Z0-9_]', '_', key.upper())}"[:LONGEST_NAME]
