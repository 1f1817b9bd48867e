"""Goes the last frame's way again just before the next is due, so that caches and core are warm.

Between two frames of a camera the core sleeps and the caches fill with other things: the same
way, gone once more a moment before, takes about half as long. It is paid with computing time,
so it is gone only as far as is cheap: with the forward pass, or up to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge.sources.pacing import sleep_until

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

    from edge.config.pipeline import Pipeline
    from edge.sources.base import ModelInput
    from edge.worker.prepare import Prepared

CHEAP = 1 / 20  # of a core: what `auto` may cost
MARGIN_NS = 200_000  # between the end of a rehearsal and the frame
MEMORY = 1 / 8


class Rehearsal:
    """Knows the last frame and how long its way takes; used by the thread that has the source."""

    def __init__(self, options: Pipeline, prepared: Prepared) -> None:
        self._preprocess = prepared.preprocess
        self._run = prepared.engine.run
        self._decode = prepared.decode
        self._wanted = options.source.live and options.rehearse != "never"
        rate = options.source.rate
        self._affordable_ns = CHEAP * 1e9 / rate if rate is not None else 0.0
        if options.rehearse == "always":
            self._affordable_ns = float("inf")
        # A model that keeps state would take the rehearsal for a frame, and with a cache the
        # next frame may need no forward pass.
        self._may_run = not prepared.keeps_state and prepared.cache is None
        self._prepare_ns = 0.0
        self._whole_ns = float(prepared.warm_ns)
        self.frame: NDArray[Any] | ModelInput | None = None
        """The last frame, in the source's own memory."""

    def before(self, due_ns: int | None, tensor: NDArray[Any], stop: threading.Event) -> None:
        """Wait until shortly before a frame is due, and go its way with the last one.

        `tensor` is a buffer that nobody reads. Returns at once where there is nothing to gain,
        or no time left. Only while the engine is idle.
        """
        if not self._wanted or due_ns is None or self.frame is None:
            return
        whole = self._may_run and self._whole_ns <= self._affordable_ns
        usual_ns = self._whole_ns if whole else self._prepare_ns
        if usual_ns > self._affordable_ns:
            return
        if not sleep_until(due_ns - round(1.25 * usual_ns) - MARGIN_NS, stop):
            return
        began_ns = time.monotonic_ns()
        if whole:
            self._decode(self._run(tensor))
        ran_ns = time.monotonic_ns()
        # Last what comes first: a large model has just driven it out of the caches.
        self._preprocess(self.frame, tensor)
        end_ns = time.monotonic_ns()
        self._prepare_ns += (end_ns - ran_ns - self._prepare_ns) * MEMORY
        if whole:
            self._whole_ns += (end_ns - began_ns - self._whole_ns) * MEMORY
