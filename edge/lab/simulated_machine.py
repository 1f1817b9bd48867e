"""A clock and the cores of a machine that exist only in arithmetic, shared as Linux shares them."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.lab.place import Place

LEAST_OF_A_SLICE = 1 / 3  # that a thread has run before another takes its core


class Account(Protocol):
    """Whose work it is, and where it is written down."""

    cpu_ns: float
    """Processor nanoseconds used so far."""


@dataclass(slots=True)
class Work:
    """What a thread has to do."""

    place: Place
    left_ns: float
    """Processor time it still takes."""
    account: Account
    then: Callable[[], None]
    """Called when it is done. The first work begun meanwhile for the same account is the same
    thread's, and keeps its core."""
    began_ns: float = 0.0
    """When it last got a core."""


class _Core:
    """One core: what it runs, and what waits for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Work | None = None
        self.waiting: deque[Work] = deque()

    @property
    def priority(self) -> int:
        """That of the thread which has it."""
        return 0 if self.current is None else self.current.place.priority

    @property
    def load(self) -> int:
        """How many threads want it."""
        return len(self.waiting) + (self.current is not None)


class SimulatedMachine:
    """Calls what falls due, and lets what wants to work share the cores.

    A thread that wakes up takes an idle core, or that of a thread which has had it for a while, or
    waits for the least wanted of those it may use; a core without work takes over what waits for
    another. Threads that share a core take turns, and change at ticks of its clock. Real-time
    threads go before all others, and keep their core.

    That is a coarse picture of EEVDF (Linux, Documentation/scheduler/sched-eevdf.rst). To
    share the cores out like a fluid was tried, and saw too little of the queues of a busy machine.
    """

    def __init__(self, cores: Iterable[int], *, slice_ns: float) -> None:
        """`slice_ns` is how long a thread runs before another has its turn."""
        self.now_ns = 0.0
        self._cores = [_Core(number) for number in sorted(cores)]
        self._slice_ns = slice_ns
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ticking = False
        self._freed: tuple[_Core, Work] | None = None

    def at(self, time_ns: float, then: Callable[[], None]) -> None:
        """Call `then` at a time that is not past."""
        heapq.heappush(self._timers, (time_ns, next(self._order), then))

    def work(self, work: Work) -> None:
        """Begin some work."""
        if self._freed is not None and self._freed[1].account is work.account:
            (core, before), self._freed = self._freed, None
            work.began_ns = before.began_ns
            core.current = work
            return
        allowed = [core for core in self._cores if core.number in work.place.cores]
        idle = [core for core in allowed if core.current is None and not self._keeps(core)]
        if idle:
            self._give(idle[0], work)
            return
        yielding = [core for core in allowed if self._yields(core, work)]
        core = min(yielding or allowed, key=lambda each: (each.priority, each.load))
        if yielding and core.current is not None:
            self._queue(core, core.current)
            self._give(core, work)
        else:
            self._queue(core, work)
        self._tick_on()

    def run(self, end_ns: float) -> None:
        """Let time pass until then."""
        while True:
            first_ns, first = math.inf, None
            for core in self._cores:
                work = core.current
                if work is not None and self.now_ns + work.left_ns < first_ns:
                    first_ns, first = self.now_ns + work.left_ns, core
            timer_ns = self._timers[0][0] if self._timers else math.inf
            until_ns = min(first_ns, timer_ns, end_ns)
            passed_ns = until_ns - self.now_ns
            for core in self._cores:
                if core.current is not None:
                    core.current.left_ns -= passed_ns
                    core.current.account.cpu_ns += passed_ns
            self.now_ns = until_ns
            if until_ns == end_ns:
                return
            if first is not None and first_ns <= timer_ns:
                self._end(first)
            else:
                heapq.heappop(self._timers)[2]()

    def _end(self, core: _Core) -> None:
        work, core.current = core.current, None
        assert work is not None  # noqa: S101  it was the first to be done
        self._freed = (core, work)
        work.then()
        self._freed = None
        if core.current is None:
            self._fill(core)

    def _keeps(self, core: _Core) -> bool:
        """Whether a core is only just free, and may be kept by the thread that had it."""
        return self._freed is not None and self._freed[0] is core

    def _yields(self, core: _Core, to: Work) -> bool:
        """Whether a core is taken from the thread that has it, for one that wakes up."""
        has = core.current
        if has is None or has.place.priority != to.place.priority:
            return has is not None and has.place.priority < to.place.priority
        return not has.place.priority and self._ran_enough(core, has)

    def _ran_enough(self, core: _Core, work: Work) -> bool:
        """Whether the thread on a core has had enough of its turn; a heavy one's is longer."""
        lightest = min((each.place.weight for each in core.waiting), default=work.place.weight)
        turns = max(work.place.weight / lightest, 1.0)
        return self.now_ns - work.began_ns >= self._slice_ns * (turns - 1 + LEAST_OF_A_SLICE)

    def _give(self, core: _Core, work: Work) -> None:
        work.began_ns = self.now_ns
        core.current = work

    @staticmethod
    def _queue(core: _Core, work: Work) -> None:
        """Let it wait behind all that are as urgent."""
        place = len(core.waiting)
        while place and core.waiting[place - 1].place.priority < work.place.priority:
            place -= 1
        core.waiting.insert(place, work)

    def _fill(self, core: _Core) -> None:
        """Let a core without work take what waits for it, or for the most wanted other."""
        for other in (core, *sorted(self._cores, key=lambda each: -len(each.waiting))):
            for work in other.waiting:
                if core.number in work.place.cores:
                    other.waiting.remove(work)
                    self._give(core, work)
                    return

    def _tick_on(self) -> None:
        """Let the clocks of the cores tick, while threads wait."""
        if not self._ticking:
            self._ticking = True
            self.at((self.now_ns // self._slice_ns + 1) * self._slice_ns, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        for core in self._cores:
            work = core.current
            if not core.waiting:
                continue
            self._tick_on()
            if work is not None and not work.place.priority and self._ran_enough(core, work):
                self._queue(core, work)
                self._give(core, core.waiting.popleft())
