"""All that is counted and timed of one pipeline: the window, the recent past, since start."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.latency.deadline import DeadlineMonitor
from edge.latency.hdr_codec import encode
from edge.latency.histogram import Histogram
from edge.messages import STAGES, Distribution, Dropped, Percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping

RECENT_NS = 300 * 10**9
LOSSES = ("mailbox", "deadline", "source", "skipped")


class Counts:
    """What happened in a stretch of time."""

    def __init__(self) -> None:
        self.frames = 0
        self.hits = 0
        self.failed = 0
        self.misses = 0
        self.dropped = Counter(dict.fromkeys(LOSSES, 0))

    def drops(self) -> Dropped:
        """Return the drops as they stand in the payload."""
        return Dropped(**self.dropped)

    def add(self, other: Counts) -> None:
        """Add another stretch of time to this one."""
        self.frames += other.frames
        self.hits += other.hits
        self.failed += other.failed
        self.misses += other.misses
        self.dropped.update(other.dropped)


class Figures:
    """The figures of one pipeline. Times go in as nanoseconds and come out as milliseconds.

    They live in the supervisor, so that a worker that dies takes none of them with it. Results
    from the cache are frames, and may miss the deadline; all else of them is kept apart.
    """

    def __init__(self, deadline_ms: float, *, now_ns: int) -> None:
        self.deadline_ms = deadline_ms
        self._by_rung: dict[int, DeadlineMonitor] = {}
        self._revision = 0
        self.on_rung(0)
        self.total = Counts()
        self.latency_total = Histogram()
        self.hits_total = Histogram()
        self._recent: deque[tuple[int, Histogram]] = deque()
        self._begin_window(now_ns)

    def on_rung(self, rung: int, revision: int = 0) -> None:
        """Judge by what is usual on a rung of the ladder from now on, of a model's `revision`."""
        if revision != self._revision:
            self._revision = revision
            self._by_rung.clear()
        self.deadline = self._by_rung.setdefault(rung, DeadlineMonitor(self.deadline_ms))

    @property
    def counts(self) -> tuple[Counts, Counts]:
        """All that was counted: until the open window, and in it."""
        return self.total, self.window

    def _begin_window(self, now_ns: int) -> None:
        self.window_began_ns = now_ns
        self.window = Counts()
        self.blamed = Counter(dict.fromkeys(STAGES, 0))
        self._latency = Histogram()
        self._stages = {stage: Histogram() for stage in STAGES}
        self._acknowledged = Histogram()
        self._hits = Histogram()
        self._hits_acknowledged = Histogram()

    def result(self, stages_ns: Mapping[str, int]) -> str | None:
        """Take in a frame's stages, in nanoseconds; return the one to blame if it was late."""
        self.window.frames += 1
        self._latency.record(sum(stages_ns.values()) // 1000)
        for stage, spent_ns in stages_ns.items():
            self._stages[stage].record(spent_ns // 1000)
        return self._judge(stages_ns)

    def hit(self, stages_ns: Mapping[str, int]) -> str | None:
        """Take in a frame answered from the cache; return the stage to blame if it was late."""
        self.window.frames += 1
        self.window.hits += 1
        self._hits.record(sum(stages_ns.values()) // 1000)
        return self._judge(stages_ns, learn=False)

    def late(self, stages_ns: Mapping[str, int]) -> str | None:
        """Take in a frame that was dropped because its deadline had passed."""
        self.window.dropped["deadline"] += 1
        return self._judge(stages_ns)

    def _judge(self, stages_ns: Mapping[str, int], *, learn: bool = True) -> str | None:
        blamed = self.deadline.blame(stages_ns, learn=learn)
        if blamed is not None:
            self.window.misses += 1
            self.blamed[blamed] += 1
        return blamed

    def lost(self, *, mailbox: int = 0, source: int = 0, skipped: int = 0) -> None:
        """Count frames that got no result."""
        self.window.dropped["mailbox"] += mailbox
        self.window.dropped["source"] += source
        self.window.dropped["skipped"] += skipped

    def failed(self) -> None:
        """Count a frame that could not be read or decoded."""
        self.window.failed += 1

    def acknowledged(self, latency_ns: int, *, hit: bool = False) -> None:
        """Take in the time from capture to the broker's acknowledgement."""
        (self._hits_acknowledged if hit else self._acknowledged).record(latency_ns // 1000)

    def add(self, other: Figures) -> None:
        """Add the open window of others to this one's."""
        self.window.add(other.window)
        self.blamed.update(other.blamed)
        self._latency.merge(other._latency)
        for stage, histogram in other._stages.items():
            self._stages[stage].merge(histogram)
        self._acknowledged.merge(other._acknowledged)
        self._hits.merge(other._hits)
        self._hits_acknowledged.merge(other._hits_acknowledged)

    def end_window(self, now_ns: int) -> Window:
        """Close the window and begin the next; return what it held."""
        self.latency_total.merge(self._latency)
        self.hits_total.merge(self._hits)
        self._recent.append((self.window_began_ns, self._latency))
        while len(self._recent) > 1 and self._recent[0][0] < now_ns - RECENT_NS:
            self._recent.popleft()
        self.total.add(self.window)
        window = Window(
            seconds=(now_ns - self.window_began_ns) / 1e9,
            counts=self.window,
            blamed=dict(self.blamed),
            latency=distribution(self._latency),
            recent=distribution(Histogram.merged(each for _, each in self._recent)),
            total=distribution(self.latency_total),
            stages={stage: percentiles(each) for stage, each in self._stages.items()},
            acknowledged=percentiles(self._acknowledged),
            hits=distribution(self._hits),
            hits_total=distribution(self.hits_total),
            hits_acknowledged=percentiles(self._hits_acknowledged),
        )
        self._begin_window(now_ns)
        return window


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The figures between two reports, ready for the payload."""

    seconds: float
    counts: Counts
    blamed: dict[str, int]
    latency: Distribution
    recent: Distribution
    total: Distribution
    stages: dict[str, Percentiles]
    acknowledged: Percentiles
    hits: Distribution
    hits_total: Distribution
    hits_acknowledged: Percentiles

    @property
    def fps(self) -> float:
        """Results a second."""
        return round(self.counts.frames / self.seconds, 2) if self.seconds else 0.0


def percentiles(histogram: Histogram) -> Percentiles:
    """Return the short form of a histogram of microseconds, in milliseconds."""
    return Percentiles(**_figures(histogram))  # type: ignore[arg-type]


def distribution(histogram: Histogram) -> Distribution:
    """Return the long form, which carries the histogram itself."""
    return Distribution(
        **_figures(histogram),  # type: ignore[arg-type]
        p99_9=_milliseconds(histogram.supported_percentile(99.9)),
        hdr=encode(histogram),
    )


def _figures(histogram: Histogram) -> dict[str, float | int | None]:
    some = histogram.count > 0
    return {
        "count": histogram.count,
        "mean": _milliseconds(histogram.mean) if some else None,
        "p50": _milliseconds(histogram.supported_percentile(50)),
        "p90": _milliseconds(histogram.supported_percentile(90)),
        "p95": _milliseconds(histogram.supported_percentile(95)),
        "p99": _milliseconds(histogram.supported_percentile(99)),
        "max": _milliseconds(histogram.max) if some else None,
    }


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 3)
