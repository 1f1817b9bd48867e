"""A clock and cores that exist only in arithmetic: work takes the longer the more of it goes on."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.lab.cores import Wish, speeds

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Account:
    """Processor nanoseconds that were used, over all cores."""

    cpu_ns: float = 0.0


@dataclass(slots=True)
class Work:
    """Something that is going on."""

    wish: Wish
    left_ns: float
    """How long it would still take at full speed."""
    account: Account
    then: Callable[[], None]


class SimulatedMachine:
    """Calls what falls due, and lets the work that was begun share the cores."""

    def __init__(self, background: Wish | None = None) -> None:
        """`background` is what other processes want all the time."""
        self.now_ns = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._works: list[Work] = []
        self._others = () if background is None else (background,)
        self._known: dict[tuple[Wish, ...], list[float]] = {}

    def at(self, time_ns: float, then: Callable[[], None]) -> None:
        """Call `then` at a time that is not past."""
        heapq.heappush(self._timers, (time_ns, next(self._order), then))

    def work(self, work: Work) -> None:
        """Begin some work; its `then` is called when it is done."""
        self._works.append(work)

    def run(self, end_ns: float) -> None:
        """Let time pass until then."""
        while True:
            works, rates = self._works, self._speeds()
            first_ns, first = math.inf, -1
            for number, (work, rate) in enumerate(zip(works, rates, strict=True)):
                if rate and (done_ns := self.now_ns + work.left_ns / rate) < first_ns:
                    first_ns, first = done_ns, number
            timer_ns = self._timers[0][0] if self._timers else math.inf
            until_ns = min(first_ns, timer_ns, end_ns)
            passed_ns = until_ns - self.now_ns
            for work, rate in zip(works, rates, strict=True):
                work.left_ns -= passed_ns * rate
                work.account.cpu_ns += passed_ns * rate * work.wish.threads * work.wish.share
            self.now_ns = until_ns
            if until_ns == end_ns:
                return
            if first_ns <= timer_ns:
                works.pop(first).then()
            else:
                heapq.heappop(self._timers)[2]()

    def _speeds(self) -> list[float]:
        wishes = tuple(work.wish for work in self._works)
        known = self._known.get(wishes)
        if known is None:
            known = self._known[wishes] = speeds((*wishes, *self._others))[: len(wishes)]
        return known
