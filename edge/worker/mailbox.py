"""Where the loop's two threads meet: the frame that waits, and whether the engine is idle."""

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
    captor: int = 0
    """The thread that prepared it, as the recorder numbers them."""
    mark: int = 0
    """Where the recorder's ring has the stage of the thread that has it in hand."""


class Mailbox:
    """Three slots go round: one is written, one lies here, one is in the forward pass.

    A frame that is ready while the engine is idle does not come to lie here: whoever offers
    it runs it, and no frame waits for a thread to wake up. Only behind a forward pass under
    way does it wait, for the thread that makes that pass, and the newest frame wins.
    """

    def __init__(self, buffer: Callable[[], NDArray[Any]]) -> None:
        self._free = [Slot(buffer()) for _ in range(3)]
        self._waiting: Slot | None = None
        self._lock = threading.Lock()
        self._room = threading.Lock()  # a bell: a Condition takes two more locks a wait
        self.idle = True
        """Whether no forward pass is under way."""
        self.replaced = 0

    def blank(self) -> Slot:
        """Return a slot to write, for the one thread that has the source."""
        with self._lock:
            return self._free.pop()

    def offer(self, slot: Slot) -> bool:
        """Offer a written slot; True when the engine was idle: it is now the caller's to run.

        Otherwise the slot lies here until the engine is through. One that still lay here is
        replaced, and counted.
        """
        with self._lock:
            if self.idle:
                self.idle = False
                return True
            if self._waiting is not None:
                self._free.append(self._waiting)
                self.replaced += 1
            self._waiting = slot
            return False

    @property
    def waiting(self) -> int:
        """How many frames lie here."""
        return int(self._waiting is not None)

    def skip(self) -> None:
        """Count a frame that was not worth preparing: a newer one would have replaced it."""
        with self._lock:
            self.replaced += 1

    def next(self, slot: Slot) -> Slot | None:
        """Give back the slot that was run; return the one that waits, to be run by the caller.

        None when there is none: the engine is idle then.
        """
        with self._lock:
            self._free.append(slot)
            waiting, self._waiting = self._waiting, None
            if waiting is None:
                self.idle = True
            elif self._room.locked():
                self._room.release()
            return waiting

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until no frame lies here; False when the time has passed."""
        end = time.monotonic() + timeout_s
        while self._waiting is not None:
            if not self._room.acquire(timeout=max(end - time.monotonic(), 0)):
                return False
        return True
