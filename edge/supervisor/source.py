"""One source of a pipeline as the supervisor sees it: its figures, what went out of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge.latency.figures import Figures
from edge.messages import SourceFigures

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline, Publish
    from edge.latency.figures import Window
    from edge.wire import Done


class SupervisedSource:
    """Keeps what is counted and timed of the frames of one source."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.deadline_ms = pipeline.deadline_of(name)
        self.figures = Figures(self.deadline_ms, now_ns=time.monotonic_ns())
        self._rate = pipeline.all_sources[name].rate
        self._counted = (0, 0, 0)
        self._lost_since = 0
        self._last_ns: int | None = None
        self._worker_is_new = False
        self._published_labels: list[Any] | None = None
        self._published_ns = -(10**18)

    def on_rung(self, rung: int, pipeline: Pipeline, revision: int) -> None:
        """Judge by what is usual on a rung of a model's ladder, and by its rate, from now on."""
        self.figures.on_rung(rung, revision)
        self._rate = pipeline.all_sources[self.name].rate

    def take_counts(self, *, replaced: int, lost: int, skipped: int) -> None:
        """Take in what the worker has counted since its start."""
        before, self._counted = self._counted, (replaced, lost, skipped)
        mailbox, source, passed = (
            now - then for now, then in zip(self._counted, before, strict=True)
        )
        self._lost_since += mailbox + source + passed
        self.figures.lost(mailbox=mailbox, source=source, skipped=passed)

    def pause(self) -> None:
        """Take note that no frame falls due until there is a worker again."""
        self._last_ns, self._counted, self._lost_since = None, (0, 0, 0), 0

    def worker_died(self) -> None:
        """Take note that frames fall due that nobody takes, and that counts begin anew."""
        self._worker_is_new, self._counted = True, (0, 0, 0)

    def frame_came(self, captured_ns: int) -> None:
        """Count the frames that fell due while a worker was replaced, each once, as lost."""
        if self._worker_is_new and self._rate is not None and self._last_ns is not None:
            due = round((captured_ns - self._last_ns) * self._rate / 1e9) - 1
            self.figures.lost(source=max(due - self._lost_since, 0))
        self._worker_is_new, self._last_ns, self._lost_since = False, captured_ns, 0

    def worth_publishing(self, done: Done, wanted: Publish) -> bool:
        """Whether a result goes out, by what went out before it."""
        since_ms = (done.decoded_ns - self._published_ns) / 1e6
        if since_ms < wanted.min_interval_ms:
            return False
        labels = [prediction.get("label", prediction) for prediction in done.predictions]
        if wanted.when == "changed" and labels == self._published_labels:
            return False
        self._published_labels, self._published_ns = labels, done.decoded_ns
        return True

    def in_metrics(self, window: Window) -> SourceFigures:
        """Return the source as it stands in its pipeline's metrics."""
        total = self.figures.total
        return SourceFigures(
            frames=window.counts.frames,
            frames_total=total.frames,
            fps=window.fps,
            dropped=window.counts.drops(),
            dropped_total=total.drops(),
            failed=window.counts.failed,
            failed_total=total.failed,
            deadline_ms=self.deadline_ms,
            deadline_misses=window.counts.misses,
            deadline_misses_total=total.misses,
            deadline_blame=window.blamed,
            latency_ms=window.latency,
            latency_total_ms=window.total,
        )
