"""Goes over to another rung, to an accelerator or to another model, beside what runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge.config.pipeline import Pipeline
from edge.engines.tuning import find_tuning
from edge.errors import EdgeError
from edge.wire import Accompany, Note, Refused
from edge.worker.prepare import prepare

if TYPE_CHECKING:
    from edge.wire import Change, Job
    from edge.worker.line import Line
    from edge.worker.loop import Loop
    from edge.worker.prepare import Prepared


class Rungs:
    """Prepares what a pipeline runs, and changes to what was asked for last.

    What was prepared stays: the way back up is at once. Of models that neither serve nor run in
    shadow nothing stays.
    """

    def __init__(self, job: Job, line: Line) -> None:
        """Prepare what the job begins with. Raises as `prepare`."""
        self._job = job
        self._line = line
        self._tuning = find_tuning(job.device, job.pipeline) if job.device is not None else None
        self._prepared: dict[tuple[int, int, bool], Prepared] = {}
        options = Pipeline.model_validate_json(job.options)
        self.first = self._prepare(job.revision, job.rung, options)
        """What the job begins with; gone once the loop has it, lest it stay for ever."""
        self._revision = job.revision
        self._wanted: dict[type[Change | Accompany], Change | Accompany] = {}
        self._lock = threading.Lock()
        self._busy = False

    def serve(self, loop: Loop) -> None:
        """Change what this loop runs."""
        self._loop = loop
        del self.first

    def change(self, wanted: Change | Accompany) -> None:
        """Begin to go over, or to run a model in shadow; returns at once."""
        if isinstance(wanted, Accompany) and not wanted.share:
            self._loop.inference.shadow.end()  # at once, whatever is being prepared
        with self._lock:
            self._wanted[type(wanted)] = wanted
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._go_over, name="change", daemon=True).start()

    def _go_over(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._busy = False
                    return
                _, wanted = self._wanted.popitem()
            if isinstance(wanted, Accompany) and not wanted.share:
                self._loop.inference.shadow.end()
            else:
                self._try(wanted)
            self._let_go()

    def _try(self, wanted: Change | Accompany) -> None:
        """Prepare what is wanted and go over to it, or tell why not."""
        options = Pipeline.model_validate_json(wanted.options)
        shadow = self._loop.inference.shadow
        known = len(self._prepared)
        try:
            way = self._prepare(wanted.revision, wanted.rung, options)
            if isinstance(wanted, Accompany):
                shadow.begin(way, wanted.share)
        except Exception as error:  # noqa: BLE001  a model is untrusted, and another one serves
            expected = isinstance(error, EdgeError)
            kind = type(error).__name__
            said = str(error) if expected else f"{options.model.path}: {kind}: {error}"
            at = (wanted.rung, said, options.accelerated, wanted.revision)
            self._line.tell(Refused(*at, kind if expected else "ModelError"))
            return
        self._loop.inference.recorder.watch_engine()  # the engine may have new threads
        self._line.tell(way.ready)
        for sentence in way.refusals if len(self._prepared) > known else ():
            self._line.tell(Note("not_permitted", sentence, {}))
        if isinstance(wanted, Accompany):
            return
        if wanted.revision != self._revision:  # in the shadow of which there is nothing
            shadow.end()
            self._revision = wanted.revision
        self._loop.change(way)

    def _prepare(self, revision: int, rung: int, options: Pipeline) -> Prepared:
        key = revision, rung, options.accelerated
        if key not in self._prepared:
            self._prepared[key] = prepare(
                options,
                pipeline=self._job.pipeline,
                tuning=self._tuning,
                rung=rung,
                revision=revision,
                # A file may have been replaced since: what was read of it then tells nothing now.
                others=[each for each in self._prepared.values() if each.revision == revision],
            )
        return self._prepared[key]

    def _let_go(self) -> None:
        """Forget the models of which none is at work; the last frames on one take it with them."""
        beside = self._loop.inference.shadow.way
        kept = {self._revision} if beside is None else {self._revision, beside.revision}
        for key in [key for key in self._prepared if key[0] not in kept]:
            del self._prepared[key]
