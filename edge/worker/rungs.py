"""Goes over to another rung of the ladder, or to an accelerator, beside what runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge.config.pipeline import Pipeline
from edge.engines.tuning import find_tuning
from edge.errors import EdgeError
from edge.wire import Refused
from edge.worker.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.wire import Change, Job
    from edge.worker.line import Line
    from edge.worker.loop import Loop
    from edge.worker.prepare import Prepared


def prepare_for(
    job: Job, options: Pipeline, *, rung: int, others: Iterable[Prepared] = ()
) -> Prepared:
    """Prepare one rung of a job's pipeline, with the tuning of its device. Raises as `prepare`."""
    tuning = find_tuning(job.device, job.pipeline) if job.device is not None else None
    return prepare(options, pipeline=job.pipeline, tuning=tuning, rung=rung, others=others)


class Rungs:
    """Knows the rungs that were prepared, and changes to the one that was asked for last.

    What was prepared stays: the way back up is at once.
    """

    def __init__(self, job: Job, prepared: Prepared, loop: Loop, line: Line) -> None:
        self._job = job
        self._loop = loop
        self._line = line
        self._prepared = {(prepared.rung, prepared.accelerated): prepared}
        self._wanted: Change | None = None
        self._lock = threading.Lock()
        self._busy = False

    def change(self, wanted: Change) -> None:
        """Begin to go over; returns at once."""
        with self._lock:
            self._wanted = wanted
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._go_over, name="change", daemon=True).start()

    def _go_over(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    return
            try:
                way = self._prepare(wanted)
            except EdgeError as error:
                accelerated = Pipeline.model_validate_json(wanted.options).accelerated
                self._line.tell(Refused(wanted.rung, str(error), accelerated))
                continue
            self._loop.inference.recorder.watch_engine()  # the engine may have new threads
            self._line.tell(way.ready)
            self._loop.change(way)

    def _prepare(self, wanted: Change) -> Prepared:
        options = Pipeline.model_validate_json(wanted.options)
        key = wanted.rung, options.accelerated
        if key not in self._prepared:
            self._prepared[key] = prepare_for(
                self._job, options, rung=wanted.rung, others=self._prepared.values()
            )
        return self._prepared[key]
