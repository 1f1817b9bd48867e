"""One pipeline on a simulated machine: `edge.worker`'s capture, mailbox and inference as events.

What waits for what, what is dropped and who is next is as there; only the work is arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.lab.simulated_machine import Work
from edge.worker.capture import EARLY_NS, HANDOVER_NS, MEMORY
from edge.worker.schedule import NEVER_NS, Costs, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from edge.lab.simulated_machine import SimulatedMachine
    from edge.lab.simulation import Cost, Load, LoadOutcome, SourceLoad, SourceOutcome

BLOCK = 16  # frames that are drawn together


def _draws(costs: Sequence[Cost], generator: np.random.Generator) -> Iterator[Cost]:
    """Yield costs for ever: whole frames, in runs of some that followed one another.

    What disturbs a machine lasts longer than a frame: the moving block bootstrap (H. Künsch, The
    Jackknife and the Bootstrap for General Stationary Observations, 1989), on a circle.
    """
    while True:
        start = int(generator.integers(len(costs)))
        for offset in range(BLOCK):
            yield costs[(start + offset) % len(costs)]


@dataclass(slots=True)
class _Frame:
    """A frame under way, as the schedule knows it."""

    source: int
    captured_ns: int
    cost: Cost
    way: SimulatedLoop
    prepared_ns: int = 0
    due_ns: int = 0


class SimulatedLoop:
    """The mailbox and the engine; and, for the schedule, the way that all frames go."""

    def __init__(
        self,
        machine: SimulatedMachine,
        load: Load,
        outcome: LoadOutcome,
        generator: np.random.Generator,
        *,
        rate: float,
    ) -> None:
        """`outcome` is where it is counted; `rate` multiplies the rates of live sources."""
        self.machine = machine
        self.load = load
        self.outcome = outcome
        self.batch = load.batch
        self.costs = Costs()
        self.alone = len(load.sources) == 1
        self.idle = True
        """Whether no forward pass is under way, nor a batch for one being gathered."""
        self._generator = generator
        self._live = all(source.period_ns is not None for source in load.sources)
        self.schedule: Schedule[_Frame] = Schedule(
            [source.deadline_ns if self._live else NEVER_NS for source in load.sources],
            drop_late=load.drop_late and self._live,
            max_size=load.batch,
            max_wait_ns=load.max_wait_ns,
        )
        self._sources = [
            _Source(self, number, source, outcome.sources[number], generator, rate=rate)
            for number, source in enumerate(load.sources)
        ]
        self._busy: tuple[int, int] | None = None
        self._gathering = 0
        self._on_idle: list[Callable[[], None]] = []
        self._on_room: list[Callable[[], None]] = []
        self._doing_chores = False

    def start(self) -> None:
        """Let all sources wait for their first frame."""
        for source in self._sources:
            source.look()

    @property
    def now_ns(self) -> int:
        """The time on the machine's clock."""
        return round(self.machine.now_ns)

    @property
    def free_ns(self) -> int | None:
        """When the engine will be free at the earliest; None where it is, or unknown."""
        busy = self._busy
        return busy[0] + busy[1] if busy is not None and busy[1] else None

    def work(self, length_ns: float, then: Callable[[], None]) -> None:
        """Begin work of this pipeline; `then` is called when it is done."""
        self.machine.work(Work(self.load.place, length_ns, self.outcome, then))

    def capture(self, length_ns: float, then: Callable[[], None]) -> None:
        """Begin to capture a frame: first its source takes the time it takes, then we do."""
        self.outcome.capture_ns += length_ns
        work_ns = length_ns * self.load.capture_share
        if work_ns == length_ns:
            self.work(work_ns, then)
        else:
            later_ns = self.machine.now_ns + length_ns - work_ns
            self.machine.at(later_ns, lambda: self.work(work_ns, then))

    def _infer(self, length_ns: float, then: Callable[[], None]) -> None:
        """Begin a forward pass; it has ended when the last of the engine's threads is done."""
        further = math.ceil(self.load.engine_threads) - 1
        left = 1 + further

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                then()

        self.work(length_ns, one_done)
        for _ in range(further):
            self.work(length_ns * (self.load.engine_threads - 1) / further, one_done)

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` as soon as the engine has nothing to do."""
        self._on_idle.append(then)

    def when_there_is_room(self, then: Callable[[], None]) -> None:
        """Call `then` as soon as the one source's next frame could wait for the engine."""
        if self.schedule.waits(0) < self.schedule.room:
            then()
        else:
            self._on_room.append(then)

    def offer(self, frame: _Frame) -> bool:
        """Take a prepared frame; True when whoever offers it had to run it."""
        frame.prepared_ns = self.now_ns
        if self.schedule.put(frame) is not None:
            self.outcome.sources[frame.source].mailbox += 1
        if self.idle:
            self.idle = False
            self.work(frame.cost.handover, self._take)
            return True
        if self._gathering:
            self._take()
        return False

    def _take(self) -> None:
        """Run what is next, or wait for frames that can share the forward pass."""
        now_ns = self.now_ns
        until_ns = self.schedule.wait_until(now_ns, self._coming)
        self._gathering += 1
        if until_ns is not None:
            asked = self._gathering
            self.machine.at(until_ns, lambda: self._take() if asked == self._gathering else None)
            return
        self._gathering = 0
        taken = self.schedule.take(now_ns, self._coming)
        for frame in taken.late:
            counts = self.outcome.sources[frame.source]
            counts.deadline += 1
            counts.latencies_ns.append(now_ns - frame.captured_ns)
        called, self._on_room = self._on_room, []
        for then in called:
            then()
        if taken.run:
            self._run(taken.run)
        else:
            self._next()

    def _coming(self) -> list[int | None]:
        return [source.due_ns() for source in self._sources]

    def _run(self, frames: list[_Frame]) -> None:
        began_ns, size = self.now_ns, len(frames)
        self._busy = (began_ns, self.costs.least(size))
        decode_ns = sum(frame.cost.decode for frame in frames)

        def inferred() -> None:
            self._busy = None
            self.outcome.engine_ns += self.now_ns - began_ns
            if self._live:
                self.work(decode_ns, finished)
                return
            self.costs.take(size, self.now_ns - began_ns)
            if self.schedule.waiting:  # the other thread of a pulled source decodes
                self.work(decode_ns, decoded)
                self._next()
            else:
                self.work(decode_ns, finished)

        def decoded() -> None:
            for frame in frames:
                self._answered(frame)

        def finished() -> None:
            decoded()
            if self._live:
                self.costs.take(size, self.now_ns - began_ns)
            self._next()

        self._infer(self._pass_ns(frames), inferred)

    def _pass_ns(self, frames: list[_Frame]) -> float:
        known = self.load.batches_ns.get(len(frames))
        if known:
            return known[int(self._generator.integers(len(known)))]
        return sum(frame.cost.inference for frame in frames)

    def _answered(self, frame: _Frame) -> None:
        counts, latency_ns = self.outcome.sources[frame.source], self.now_ns - frame.captured_ns
        counts.answered += 1
        counts.late += latency_ns > self.load.sources[frame.source].deadline_ns
        counts.latencies_ns.append(latency_ns)
        if self.load.chores_ns and not self._doing_chores:
            self._doing_chores = True
            self.work(self.load.chores_ns, self._chores_done)

    def _chores_done(self) -> None:
        self._doing_chores = False

    def _next(self) -> None:
        """Go on with what waits; where nothing does, the engine is idle."""
        if self.schedule.waiting:
            self._take()
            return
        self.idle = True
        called, self._on_idle = self._on_idle, []
        for then in called:
            then()


class _Source:
    """Takes the frames of one source and prepares them, one at a time."""

    def __init__(
        self,
        loop: SimulatedLoop,
        number: int,
        load: SourceLoad,
        outcome: SourceOutcome,
        generator: np.random.Generator,
        *,
        rate: float,
    ) -> None:
        self._loop = loop
        self._number = number
        self._outcome = outcome
        self._costs = _draws(load.costs, generator)
        self._period_ns = None if load.period_ns is None else load.period_ns / rate
        self._start_ns = generator.uniform(0, self._period_ns or 0.0)
        self._last = -1
        self._since_run = 0
        self._usual_prepare_ns = 0.0

    def look(self) -> None:
        """Wait for the next frame; the one before is prepared, or passed over."""
        if self._period_ns is None:
            self._loop.when_there_is_room(self._ask)
            return
        index, due_ns = self._coming(self._period_ns)
        if due_ns > self._loop.machine.now_ns:
            self._loop.machine.at(due_ns, lambda: self._grab(index, due_ns))
        else:
            self._grab(index, due_ns)

    def due_ns(self) -> int | None:
        """When the next frame falls due; None for a pulled one."""
        return None if self._period_ns is None else round(self._coming(self._period_ns)[1])

    def _coming(self, period_ns: float) -> tuple[int, float]:
        """Return number and due time of the next frame, as `edge.sources.pacing.Pacer` does."""
        newest = math.floor((self._loop.machine.now_ns - self._start_ns) / period_ns)
        index = max(self._last + 1, newest)
        return index, self._start_ns + index * period_ns

    def _ask(self) -> None:
        """Ask a pulled source so late that its frame is ready just before the engine is."""
        loop = self._loop
        if loop.free_ns is not None and loop.batch == 1:
            asked_ns = loop.free_ns - 2 * self._usual_prepare_ns - EARLY_NS
            if asked_ns > loop.machine.now_ns:
                loop.machine.at(asked_ns, lambda: self._capture(asked_ns))
                return
        self._capture(loop.machine.now_ns)

    def _grab(self, index: int, due_ns: float) -> None:
        self._outcome.lost += index - self._last - 1
        self._last = index
        self._since_run += 1
        if self._since_run < self._loop.load.every:
            self.look()
            return
        self._since_run = 0
        if not self._loop.idle and self._in_vain():
            self._outcome.mailbox += 1
            self._loop.schedule.pass_over(self._number, round(due_ns))
            self.look()
            return
        self._capture(due_ns)

    def _in_vain(self) -> bool:
        """Whether a newer frame will be ready by the time this one would be run."""
        loop, due_ns = self._loop, self.due_ns()
        free_ns = loop.free_ns
        if due_ns is None or free_ns is None or loop.batch > 1:
            return False
        if not loop.alone:
            free_ns += loop.schedule.ahead(self._number) * loop.costs.least(1)
        return due_ns + 2 * self._usual_prepare_ns < free_ns

    def _capture(self, captured_ns: float) -> None:
        cost = next(self._costs)
        frame = _Frame(self._number, round(captured_ns), cost, self._loop)
        began_ns = self._loop.machine.now_ns

        def captured() -> None:
            self._loop.work(cost.preprocess, lambda: self._prepared(frame, began_ns))

        self._loop.capture(cost.capture, captured)

    def _prepared(self, frame: _Frame, began_ns: float) -> None:
        loop = self._loop
        spent_ns = loop.machine.now_ns - began_ns
        usual_ns = self._usual_prepare_ns or spent_ns
        self._usual_prepare_ns = usual_ns + (spent_ns - usual_ns) * MEMORY
        if loop.offer(frame) and self._has_time():
            loop.when_idle(self.look)
        else:
            self.look()

    def _has_time(self) -> bool:
        """Whether a forward pass that begins now will have ended before the next frame comes."""
        loop, due_ns = self._loop, self.due_ns()
        pass_ns = loop.costs.most(1)
        if due_ns is None or not pass_ns or not loop.alone or loop.batch > 1:
            return False
        return due_ns > loop.now_ns + 2 * pass_ns + HANDOVER_NS
