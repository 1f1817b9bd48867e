"""The one slot between the capture thread and the forward pass: the newest frame wins."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.sources.base import Grabbed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NOTHING = Grabbed(-1, 0)


@dataclass(slots=True)
class Slot:
    """A tensor that is written again and again, and the frame it holds at the moment."""

    tensor: NDArray[Any]
    grabbed: Grabbed = NOTHING
    frame: int = -1
    """Its number, over all workers of the pipeline."""
    retrieved_ns: int = 0
    prepared_ns: int = 0


class Mailbox:
    """Three slots go round: one is written, one lies here, one is read.

    One thread posts, one takes. A bare lock serves as the bell, for a Condition allocates
    and takes two more locks for every wait.
    """

    def __init__(self, buffer: Callable[[], NDArray[Any]]) -> None:
        self._free = [Slot(buffer()), Slot(buffer())]
        self._read = Slot(buffer())
        self._full: Slot | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()
        self._room = threading.Lock()
        self.replaced = 0

    def first(self) -> Slot:
        """Return the slot the posting thread begins with."""
        return self._free.pop()

    def post(self, slot: Slot) -> Slot:
        """Lay a written slot in; return the one to write next.

        A frame that still lay here is replaced, and counted.
        """
        with self._lock:
            unread, self._full = self._full, slot
            if unread is None:
                unread = self._free.pop()
            else:
                self.replaced += 1
            self._ring()
        return unread

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait, before posting, until the last frame was taken; False when time has passed."""
        end = time.monotonic() + timeout_s
        while self._full is not None:
            if not self._room.acquire(timeout=max(end - time.monotonic(), 0)):
                return False
        return True

    def take(self, timeout_s: float) -> Slot | None:
        """Wait for a frame and take it; the slot taken before is free to be written again.

        None when the time has passed, or when the mailbox was closed and is empty.
        """
        end = time.monotonic() + timeout_s
        while not self._closed or self._full is not None:
            if not self._bell.acquire(timeout=max(end - time.monotonic(), 0)):
                return None
            with self._lock:
                slot, self._full = self._full, None
                if slot is not None:
                    self._free.append(self._read)
                    self._read = slot
                    if self._room.locked():
                        self._room.release()
                    return slot
        return None

    def close(self) -> None:
        """Say that nothing more will be posted, and wake whoever waits."""
        with self._lock:
            self._closed = True
            self._ring()

    @property
    def ended(self) -> bool:
        """Whether it was closed and the last frame was taken."""
        return self._closed and self._full is None

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()
