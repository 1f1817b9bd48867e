"""The worker's end of the wire, as all its threads use it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.wire import Record, Wire

ORPHANED = 3  # exit status when the supervisor is gone


class Line:
    """The worker's end of the wire, shared by its threads: one record at a time."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._lock = threading.Lock()
        self.may_wait = False

    def tell(self, record: Record) -> None:
        """Send a record; a worker without a supervisor ends at once."""
        try:
            with self._lock:
                self.wire.send(record, may_wait=self.may_wait)
        except ConnectionError:
            os._exit(ORPHANED)
