"""Pipelines side by side in workers as the daemon starts them, measured for a stretch of time.

Nothing is published: what a broker would cost is not in these figures.
"""

from __future__ import annotations

import os
import selectors
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from edge.errors import ModelError, SourceError
from edge.lab.statistics import ONE_HOUR_NS
from edge.latency.histogram import Histogram
from edge.messages import STAGES
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import WorkerProcess
from edge.supervisor.trial import death_of, error_of
from edge.wire import Beat, Done, Ended, Failed, Late, Note, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from edge.config.pipeline import Pipeline
    from edge.wire import Record

START_LIMIT_S = 120.0  # loading a large model on a slow card
FIRST_FRAME_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
TICK_S = 0.05
READ_AT_ONCE = 256  # records, before the others have their turn
HELD = 0.01  # misses at most, of all frames: what a P99 within the deadline means
CPUCLOCK_SCHED = 2


def _nanoseconds() -> Histogram:
    return Histogram(1, ONE_HOUR_NS)


@dataclass
class Tally:
    """What one pipeline did in one stretch of time, or in several added up. Times in ns."""

    deadline_ms: float
    seconds: float = 0.0
    cpu_s: float = 0.0
    answered: int = 0
    intervals: int = 0
    """From one answer to the next within a turn, and how long they took together."""
    span_ns: int = 0
    _last_ns: int = 0
    late: int = 0
    """Answered, but after their deadline."""
    failed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """As the daemon counts them: `mailbox`, `deadline`, `source`."""
    latency: Histogram = field(default_factory=_nanoseconds)
    """Capture to result; a frame dropped for its deadline stands here with its age by then."""
    records: list[Done | Late] | None = None
    """Each frame as it was told, without its predictions; None where nobody asked for them."""
    replaced: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """What stands in `dropped` as `mailbox` and `source`, for each source; of one stretch only."""
    stages: dict[str, Histogram] = field(
        default_factory=lambda: {stage: _nanoseconds() for stage in STAGES}
    )

    def take(self, record: Done | Late) -> None:
        """Count a frame that was answered, or dropped because it was too late."""
        stages_ns = record.stages_ns
        total_ns = sum(stages_ns.values())
        self.latency.record(total_ns)
        if self.records is not None:
            self.records.append(
                record._replace(predictions=[]) if isinstance(record, Done) else record
            )
        if isinstance(record, Late):
            self.dropped["deadline"] += 1
            return
        self.answered += 1
        if self._last_ns:
            self.intervals += 1
            self.span_ns += record.decoded_ns - self._last_ns
        self._last_ns = record.decoded_ns
        self.late += total_ns > self.deadline_ms * 1e6
        for stage, spent_ns in stages_ns.items():
            self.stages[stage].record(spent_ns)

    def add(self, other: Tally) -> None:
        """Add another stretch of time."""
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s
        self.answered += other.answered
        self.intervals += other.intervals
        self.span_ns += other.span_ns
        self.late += other.late
        self.failed += other.failed
        self.dropped.update(other.dropped)
        self.latency.merge(other.latency)
        for stage, histogram in other.stages.items():
            self.stages[stage].merge(histogram)

    @property
    def fps(self) -> float:
        """Frames answered a second, by the time between answers: turns are short."""
        return self.intervals * 1e9 / self.span_ns if self.span_ns else 0.0

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds of the worker for each frame it answered."""
        return self.cpu_s * 1e3 / max(self.answered, 1)

    @property
    def missed(self) -> int:
        """Frames without a result in time: late, dropped for it, or due and never taken.

        Frames that a newer one replaced in the mailbox are none of them, here as in the
        daemon's figures: a camera may be faster than its model.
        """
        return self.late + self.dropped["deadline"] + self.dropped["source"]

    @classmethod
    def of(cls, turns: Sequence[Tally]) -> Tally:
        """Return all turns together; there must be one."""
        total = cls(turns[0].deadline_ms)
        for turn in turns:
            total.add(turn)
        return total

    @property
    def miss_share(self) -> float:
        """Missed frames, of those that should have had a result; 1 when there were none."""
        return self.missed / self.due if self.due else 1.0

    @property
    def due(self) -> int:
        """Frames that should have had a result."""
        return self.answered + self.dropped["deadline"] + self.dropped["source"]

    @property
    def holds(self) -> bool:
        """Whether the deadline is held: one frame in a hundred may miss it.

        A single one may in any case, for it says nothing of a small sample's P99.
        """
        return self.due > 0 and self.answered > 0 and self.missed <= max(self.due * HELD, 1)


class LoopWorker:
    """One pipeline in a worker, and what it does while somebody counts."""

    def __init__(self, name: str, options: Pipeline, *, device: str | None) -> None:
        """Start the process; `device` names whose tuning counts, None for no tuning."""
        self.name = name
        self.options = options
        self.process = WorkerProcess(name, options, device=device)
        self.words = LastWords()
        self.ready: Ready | None = None
        self.beat: Beat | None = None
        """The last one since a frame was answered: from here on it is warm."""
        self.seen = 0
        """Frames that came to an end, counted or not."""
        self.busy = False
        """Whether a forward pass was under way when it was last heard."""
        self.silent: dict[str, str] = {}
        """Sources that do not deliver at the moment, and why; a single one goes by ""."""
        self.refused: list[str] = []
        """What of its place among the processes was not granted, a sentence each."""
        self.over = False
        self.error: Exception | None = None
        self._tally = Tally(options.deadline_ms)
        self._counting = self._clock_runs = False
        self._at_first = Beat([], [], [], 0)

    def begin(self, *, keep_records: bool = False) -> None:
        """Count from now on, and keep what is told of each frame where asked. It must be warm."""
        self._tally = Tally(
            self.options.deadline_ms,
            seconds=-time.monotonic(),
            cpu_s=-self._cpu_s(),
            records=[] if keep_records else None,
        )
        self._at_first = self.beat or self._at_first
        self._counting = self._clock_runs = True

    def refuse_silence(self) -> None:
        """Raise SourceError where a source does not deliver, though others of it may."""
        if self.silent:
            raise SourceError(f"pipeline {self.name}: {'; '.join(self.silent.values())}")

    def stop(self) -> None:
        """Ask it to finish the frame in hand and end; it counts to its last word."""
        self._stop_the_clock()
        self.process.stop()

    def end(self) -> Tally:
        """Count no more; return what was counted."""
        self._stop_the_clock()
        self._counting = False
        tally, first, last = self._tally, self._at_first, self.beat or self._at_first
        tally.replaced = _since(first.replaced, last.replaced)
        tally.lost = _since(first.lost, last.lost)
        tally.dropped["mailbox"] = sum(tally.replaced)
        tally.dropped["source"] = sum(tally.lost)
        return tally

    def _stop_the_clock(self) -> None:
        if not self._clock_runs:
            return
        self._clock_runs = False
        self._tally.seconds += time.monotonic()
        self._tally.cpu_s += self._cpu_s()

    def _cpu_s(self) -> float:
        """Processor seconds of the worker's threads so far.

        By its clock as clock_getcpuclockid(3) names it (the kernel's `MAKE_PROCESS_CPUCLOCK`):
        to the nanosecond, where proc(5) tells ticks of 10 ms.
        """
        try:
            return time.clock_gettime(~self.process.process.pid << 3 | CPUCLOCK_SCHED)
        except OSError:
            return 0.0  # it is gone, which is told elsewhere

    def read_wire(self) -> bool:
        """Take in what it has sent; False when its end is closed."""
        try:
            for _ in range(READ_AT_ONCE):
                record = self.process.wire.receive()
                if record is None:
                    break
                self._take(record)
        except ConnectionError:
            self.over = True
            if self.error is None and self.process.process.wait():
                self.error = death_of(self.process, self.words, self.options.model.path)
            return False
        return True

    def read_output(self) -> bool:
        """Take in what it prints; False at the end."""
        data = os.read(self.process.output, 65536)
        self.words.feed(data)
        return bool(data)

    def _take(self, record: Record) -> None:
        if isinstance(record, (Done, Late)):
            self.seen += 1
            if self._counting:
                self._tally.take(record)
        elif isinstance(record, Beat):
            self.beat = record if self.seen else None
            self.busy = record.busy_since_ns > 0
        elif isinstance(record, Ready):
            self.ready = record
        elif isinstance(record, Note):
            self._note(record)
        elif isinstance(record, Failed):
            self.error = error_of(record)
        elif isinstance(record, Ended):
            self.error = SourceError(f"{self.name}: the source came to its end")

    def _note(self, note: Note) -> None:
        if note.event == "frame_failed":
            self._tally.failed += self._counting
        elif note.event == "not_permitted":
            self.refused.append(note.message)
        elif note.event == "source_lost":
            self.silent[note.details.get("source", "")] = note.message
        elif note.event == "source_back":
            self.silent.pop(note.details.get("source", ""), None)


def _since(first: list[int], last: list[int]) -> list[int]:
    return [after - before for before, after in zip_longest(first, last, fillvalue=0)]


class LoopRun:
    """Workers side by side, all of them heard by one thread."""

    def __init__(self) -> None:
        self.workers: list[LoopWorker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self.workers):
            self.leave(worker)
        self._selector.close()

    def start(self, name: str, options: Pipeline, *, device: str | None = None) -> LoopWorker:
        """Start a pipeline's worker; it is not ready yet."""
        worker = LoopWorker(name, options, device=device)
        self.workers.append(worker)
        self._selector.register(worker.process.wire.socket, selectors.EVENT_READ, worker.read_wire)
        self._selector.register(worker.process.output, selectors.EVENT_READ, worker.read_output)
        return worker

    def warm(self, worker: LoopWorker, *, patient: bool = True) -> None:
        """Hear all workers until this one answers frames and has told its counts since.

        Raises what made it fail, and SourceError when it gets no frames: at once, or when
        `patient` after a while.
        """
        self._hear(lambda: worker.ready is not None, START_LIMIT_S)
        path = worker.options.model.path
        if worker.ready is None:
            worker.error = ModelError(f"{path}: is not loaded after {START_LIMIT_S:g} s")
            raise worker.error

        def there() -> bool:
            return worker.beat is not None or (bool(worker.silent) and not patient)

        self._hear(there, FIRST_FRAME_LIMIT_S)
        if worker.beat is None and worker.busy:
            limit = f"{FIRST_FRAME_LIMIT_S:g} s"
            worker.error = ModelError(f"{path}: one forward pass takes more than {limit}")
            raise worker.error
        if worker.beat is None:
            why = (
                "; ".join(worker.silent.values())
                or f"no frame came within {FIRST_FRAME_LIMIT_S:g} s"
            )
            raise SourceError(f"pipeline {worker.name}: {why}")

    def run(self, seconds: float) -> None:
        """Hear all workers for so long."""
        self._hear(lambda: False, seconds)

    def stop(self, workers: Sequence[LoopWorker]) -> list[Tally]:
        """Let them finish the frame in hand, tell their last counts and end.

        Returns what each did since `begin`.
        """
        for worker in workers:
            worker.stop()
        self._hear(lambda: all(worker.over for worker in workers), STOP_LIMIT_S)
        for worker in workers:
            self.leave(worker)
        return [worker.end() for worker in workers]

    def leave(self, worker: LoopWorker) -> None:
        """End a worker, however it is, and forget it."""
        for descriptor in (worker.process.wire.socket, worker.process.output):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        self.workers.remove(worker)
        worker.process.close()

    def _hear(self, done: Callable[[], bool], limit_s: float) -> None:
        """Take in what the workers say until `done` or the time is over.

        Raises what ended a worker unasked: none of them may.
        """
        end = time.monotonic() + limit_s
        while not done() and (left_s := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left_s, TICK_S)):
                if not key.data():
                    self._selector.unregister(key.fileobj)
            for worker in self.workers:
                if worker.error is not None:
                    raise worker.error
