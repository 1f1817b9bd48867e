"""Goes the last frame's way again before the next is due, so that caches and core are warm.

Between two frames of a camera the core sleeps and the caches fill with other things: the same
way, gone once more a moment before, takes up to a third less. It is paid with a second pass.
(To rehearse only up to the forward pass, where the pass is dear, was measured and did not pay: what
is cold there is the new frame's own memory.)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge.geometry import NO_PICTURE
from edge.sources.pacing import sleep_until

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

    from edge.sources.base import ModelInput, SourceOptions
    from edge.worker.prepare import Prepared

CHEAP = 1 / 20  # of a core: what `auto` may cost
MARGIN_NS = 200_000  # between the end of a rehearsal and the frame
MEMORY = 1 / 8


class Rehearsal:
    """Knows the last frame and how long its way takes; used by the thread that has the source."""

    def __init__(self, source: SourceOptions, prepared: Prepared, *, alone: bool) -> None:
        """`alone` says that the engine serves this source only."""
        self._preprocess = prepared.preprocess
        self._run = prepared.run
        self._decode = prepared.decode
        rate, rehearse = source.rate, prepared.options.rehearse
        self._affordable_ns = CHEAP * 1e9 / rate if rate is not None else 0.0
        if rehearse == "always":
            self._affordable_ns = float("inf")
        # A model that keeps state would take the rehearsal for a frame, with a cache the next
        # frame may need no forward pass, and the frames of other sources come in between.
        self._wanted = (
            source.live
            and alone
            and rehearse != "never"
            and not prepared.keeps_state
            and prepared.cache is None
        )
        self._usual_ns = float(prepared.warm_ns)
        self.frame: NDArray[Any] | ModelInput | None = None
        """The last frame, in the source's own memory."""
        self.since_ns = 0
        """When the one under way began; 0 when there is none. It may hang like any pass."""

    @property
    def lead_ns(self) -> int:
        """How long before a frame it begins; 0 where there is nothing to gain."""
        if not self._wanted or self._usual_ns > self._affordable_ns:
            return 0
        return round(1.25 * self._usual_ns) + MARGIN_NS

    def before(self, due_ns: int | None, tensor: NDArray[Any], stop: threading.Event) -> bool:
        """Wait until shortly before a frame is due, and go its way with the last one.

        `tensor` is a buffer that nobody reads. Returns False, at once, where there is nothing to
        gain, or no time left. Only while the engine is idle.
        """
        if due_ns is None or self.frame is None or not self.lead_ns:
            return False
        if not sleep_until(due_ns - self.lead_ns, stop):
            return False
        self.since_ns = began_ns = time.monotonic_ns()
        self._decode(self._run([tensor])[0], NO_PICTURE)
        # Last what comes first, lest a large model drives it out of the caches again.
        self._preprocess(self.frame, tensor)
        self.since_ns = 0
        self._usual_ns += (time.monotonic_ns() - began_ns - self._usual_ns) * MEMORY
        return True
