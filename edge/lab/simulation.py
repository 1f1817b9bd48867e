"""Plays pipelines through on simulated cores, as `edge.worker.loop` runs them.

How long things take is drawn from what was measured. All times are nanoseconds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.lab.cores import Place, Wish
from edge.lab.simulated_machine import Account, SimulatedMachine, Work
from edge.worker.loop import EARLY_NS, HANDOVER_NS, KNOWN_PASSES, MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BLOCK = 16  # frames that are drawn together


class Cost(NamedTuple):
    """What one frame took with nothing else on the machine, in nanoseconds."""

    capture: float
    """From its capture time until its pixels are in memory."""
    preprocess: float
    handover: float
    """Of the prepared frame to an idle engine, and the look into the cache."""
    inference: float
    decode: float


@dataclass(frozen=True, slots=True)
class SourceLoad:
    """One source of a pipeline."""

    name: str
    period_ns: float | None
    """None where it is pulled: a frame comes when it is asked for."""
    deadline_ns: float
    costs: Sequence[Cost]
    """In the order they were measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """One pipeline."""

    name: str
    sources: Sequence[SourceLoad]
    place: Place
    drop_late: bool = True
    share: float = 1.0
    """Of a core, that a thread at work can use: less where it sleeps now and then."""
    engine_threads: float = 1.0
    """Threads that the forward pass keeps busy."""
    capture_share: float = 0.0
    """Of a core, that capturing uses: waiting for a camera costs time, but no work."""
    chores_ns: float = 0.0
    """Of work beside a frame's way: rehearsing, watching the clock, handing on the result."""


@dataclass
class SourceOutcome:
    """What became of one source's frames."""

    answered: int = 0
    late: int = 0
    """Answered, but after their deadline."""
    mailbox: int = 0
    """Replaced by a newer one, or not prepared because a newer one would have replaced it."""
    deadline: int = 0
    """Past their deadline before the forward pass, and dropped."""
    lost: int = 0
    """Due and never taken."""
    latencies_ns: list[float] = field(default_factory=list)
    """Capture to result; a frame dropped for its deadline stands here with its age by then."""

    @property
    def missed(self) -> int:
        """Frames without a result in time, but for those in `mailbox`: as in the daemon's."""
        return self.late + self.deadline + self.lost

    @property
    def arrived(self) -> int:
        """All frames that fell due."""
        return self.answered + self.deadline + self.lost + self.mailbox

    def add(self, other: SourceOutcome) -> None:
        """Add another stretch of time."""
        self.answered += other.answered
        self.late += other.late
        self.mailbox += other.mailbox
        self.deadline += other.deadline
        self.lost += other.lost
        self.latencies_ns += other.latencies_ns


@dataclass
class LoadOutcome:
    """What one pipeline did."""

    sources: list[SourceOutcome]
    engine_ns: float = 0.0
    """In forward passes."""
    capture_ns: float = 0.0
    """In capturing, of all frames that were."""
    cpu_ns: float = 0.0

    def add(self, other: LoadOutcome) -> None:
        """Add another stretch of time."""
        self.engine_ns += other.engine_ns
        self.capture_ns += other.capture_ns
        self.cpu_ns += other.cpu_ns
        for mine, theirs in zip(self.sources, other.sources, strict=True):
            mine.add(theirs)


def simulate(
    loads: Sequence[Load],
    *,
    seconds: float,
    generator: np.random.Generator,
    rate: float = 1.0,
    background: Wish | None = None,
) -> list[LoadOutcome]:
    """Return what these pipelines do side by side in so many seconds.

    The first frame of each source falls due at random within its first period. `rate` multiplies
    the rates of all live sources; `background` is what other processes want.
    """
    machine = SimulatedMachine(background)
    pipelines = [_Pipeline(machine, load, generator, rate) for load in loads]
    machine.run(seconds * 1e9)
    return [pipeline.outcome() for pipeline in pipelines]


def _draws(costs: Sequence[Cost], generator: np.random.Generator) -> Iterator[Cost]:
    """Yield costs for ever, whole frames in runs of some that followed one another.

    What disturbs a machine lasts longer than a frame: the moving block bootstrap (H. Künsch, The
    Jackknife and the Bootstrap for General Stationary Observations, 1989), on a circle.
    """
    while True:
        start = int(generator.integers(len(costs)))
        for offset in range(BLOCK):
            yield costs[(start + offset) % len(costs)]


@dataclass(slots=True)
class _Frame:
    """A frame under way."""

    source: _Source
    captured_ns: float
    cost: Cost
    rank: float
    """Who is least is next: its deadline, or that of an unserved frame it replaced."""


class _Source:
    """The side of the loop that takes frames and prepares them, one at a time."""

    def __init__(
        self,
        pipeline: _Pipeline,
        load: SourceLoad,
        generator: np.random.Generator,
        period_ns: float | None,
    ) -> None:
        self.outcome = SourceOutcome()
        self._pipeline = pipeline
        self._load = load
        self._costs = _draws(load.costs, generator)
        self.period_ns = period_ns
        self._start_ns = generator.uniform(0, period_ns) if period_ns else 0.0
        self._last = -1
        self._usual_prepare_ns = 0.0

    def look(self) -> None:
        """Wait for the next frame; whoever had the source is through with the one before."""
        machine = self._pipeline.machine
        if self.period_ns is None:
            self._pipeline.when_there_is_room(self, self._ask)
            return
        index, due_ns = self._coming(machine.now_ns)
        machine.at(max(due_ns, machine.now_ns), lambda: self._grab(index, due_ns))

    def _ask(self) -> None:
        """Ask a pulled source so that the frame is ready just before the engine is."""
        machine, free_ns = self._pipeline.machine, self._pipeline.free_ns
        early_ns = 2 * self._usual_prepare_ns + EARLY_NS
        asked_ns = max(free_ns - early_ns if free_ns is not None else 0.0, machine.now_ns)
        machine.at(asked_ns, lambda: self._capture(machine.now_ns))

    def _coming(self, now_ns: float) -> tuple[int, float]:
        """Return number and due time of the next frame, as `edge.sources.pacing.Pacer` does."""
        assert self.period_ns is not None  # noqa: S101  only live sources are due
        newest = math.floor((now_ns - self._start_ns) / self.period_ns)
        index = max(self._last + 1, newest)
        return index, self._start_ns + index * self.period_ns

    def _grab(self, index: int, due_ns: float) -> None:
        self.outcome.lost += index - self._last - 1
        self._last = index
        if not self._pipeline.idle and self._in_vain():
            self.outcome.mailbox += 1
            self.look()
            return
        self._capture(due_ns)

    def _in_vain(self) -> bool:
        free_ns = self._pipeline.free_ns
        if free_ns is None:
            return False
        due_ns = self._coming(self._pipeline.machine.now_ns)[1]
        return due_ns + 2 * self._usual_prepare_ns < free_ns

    def _capture(self, captured_ns: float) -> None:
        cost = next(self._costs)
        frame = _Frame(self, captured_ns, cost, captured_ns + self._load.deadline_ns)
        began_ns = self._pipeline.machine.now_ns

        def captured() -> None:
            self._pipeline.work(cost.preprocess, lambda: self._prepared(frame, began_ns))

        self._pipeline.capture(cost.capture, captured)

    def _prepared(self, frame: _Frame, began_ns: float) -> None:
        pipeline = self._pipeline
        spent_ns = pipeline.machine.now_ns - began_ns
        usual_ns = self._usual_prepare_ns or spent_ns
        self._usual_prepare_ns = usual_ns + (spent_ns - usual_ns) * MEMORY
        if pipeline.offer(frame) and self._has_time():
            pipeline.when_idle(self.look)
        else:
            self.look()

    def _has_time(self) -> bool:
        pass_ns = self._pipeline.usual_pass_ns
        if self.period_ns is None or pass_ns is None:
            return False
        now_ns = self._pipeline.machine.now_ns
        return self._coming(now_ns)[1] > now_ns + 2 * pass_ns + HANDOVER_NS

    def ended(self, frame: _Frame) -> None:
        """Count a frame that has its result now."""
        latency_ns = self._pipeline.machine.now_ns - frame.captured_ns
        self.outcome.answered += 1
        self.outcome.late += latency_ns > self._load.deadline_ns
        self.outcome.latencies_ns.append(latency_ns)

    def too_late(self, frame: _Frame) -> bool:
        """Drop a frame whose deadline is past; return whether it was."""
        latency_ns = self._pipeline.machine.now_ns - frame.captured_ns
        if latency_ns <= self._load.deadline_ns or self.period_ns is None:
            return False
        self.outcome.deadline += 1
        self.outcome.latencies_ns.append(latency_ns)
        return True


class _Pipeline:
    """The mailbox and the engine of a pipeline."""

    def __init__(
        self, machine: SimulatedMachine, load: Load, generator: np.random.Generator, rate: float
    ) -> None:
        self.machine = machine
        self.idle = True
        self._load = load
        self._account = Account()
        self._engine_ns = self._capture_ns = 0.0
        self._busy_since_ns: float | None = None
        self._passes_ns: deque[float] = deque(maxlen=KNOWN_PASSES)
        self._waiting: dict[_Source, _Frame] = {}
        self._on_idle: list[Callable[[], None]] = []
        self._on_room: dict[_Source, Callable[[], None]] = {}
        self._doing_chores = False
        one = Wish(load.place, 1.0, load.share)
        self._wish = one
        self._engine_wish = one._replace(threads=load.engine_threads)
        self._capture_wish = one._replace(share=load.capture_share)
        self._nothing = one._replace(share=0.0)
        self._sources = [
            _Source(self, each, generator, each.period_ns / rate if each.period_ns else None)
            for each in load.sources
        ]
        for source in self._sources:
            source.look()

    def outcome(self) -> LoadOutcome:
        """Return what was done."""
        sources = [source.outcome for source in self._sources]
        return LoadOutcome(sources, self._engine_ns, self._capture_ns, self._account.cpu_ns)

    @property
    def usual_pass_ns(self) -> float | None:
        """The longest of the last forward passes; None before the first."""
        return max(self._passes_ns, default=None)

    @property
    def free_ns(self) -> float | None:
        """When the forward pass under way will end at the earliest; None without one."""
        if self._busy_since_ns is None or not self._passes_ns:
            return None
        return self._busy_since_ns + min(self._passes_ns)

    def work(self, length_ns: float, then: Callable[[], None], wish: Wish | None = None) -> None:
        """Begin work of this pipeline."""
        self.machine.work(Work(wish or self._wish, length_ns, self._account, then))

    def capture(self, length_ns: float, then: Callable[[], None]) -> None:
        """Begin to capture."""
        self._capture_ns += length_ns
        self.work(length_ns, then, self._capture_wish)

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` when the engine has nothing more to do."""
        self._on_idle.append(then)

    def when_there_is_room(self, source: _Source, then: Callable[[], None]) -> None:
        """Call `then` when no frame of the source waits for the engine."""
        if source in self._waiting:
            self._on_room[source] = then
        else:
            then()

    def offer(self, frame: _Frame) -> bool:
        """Run a frame at once, or let it wait in the place of an older one."""
        if self.idle:
            self.idle = False
            self._hand_over(frame)
            return True
        older = self._waiting.get(frame.source)
        if older is not None:
            frame.source.outcome.mailbox += 1
            frame.rank = older.rank
        self._waiting[frame.source] = frame
        return False

    def _hand_over(self, frame: _Frame) -> None:
        self.work(frame.cost.handover, lambda: self._take(frame), self._nothing)

    def _take(self, frame: _Frame) -> None:
        if self._load.drop_late and frame.source.too_late(frame):
            self._next()
            return
        taken_ns = self._busy_since_ns = self.machine.now_ns
        self.work(
            frame.cost.inference, lambda: self._inferred(frame, taken_ns), self._engine_wish
        )

    def _inferred(self, frame: _Frame, taken_ns: float) -> None:
        pass_ns = self.machine.now_ns - taken_ns
        self._engine_ns += pass_ns
        self._passes_ns.append(pass_ns)
        self._busy_since_ns = None
        if frame.source.period_ns is None and self._waiting:
            # The other thread of a pulled source decodes, while the engine goes on.
            self.work(frame.cost.decode, lambda: self._answered(frame))
            self._next()
            return

        def decoded() -> None:
            self._answered(frame)
            self._next()

        self.work(frame.cost.decode, decoded)

    def _answered(self, frame: _Frame) -> None:
        frame.source.ended(frame)
        if self._load.chores_ns and not self._doing_chores:
            self._doing_chores = True
            self.work(self._load.chores_ns, self._chores_done)

    def _chores_done(self) -> None:
        self._doing_chores = False

    def _next(self) -> None:
        if not self._waiting:
            self.idle = True
            called, self._on_idle = self._on_idle, []
            for then in called:
                then()
            return
        source = min(self._waiting, key=lambda each: self._waiting[each].rank)
        self._hand_over(self._waiting.pop(source))
        if source in self._on_room:
            self._on_room.pop(source)()
