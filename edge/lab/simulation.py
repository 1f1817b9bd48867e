"""What the simulation of a device's pipelines is given, and what it finds. All times are ns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.lab.place import Place
from edge.lab.simulated_loop import SimulatedLoop
from edge.lab.simulated_machine import SimulatedMachine, Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OTHERS_WORK_NS = 2e6  # what another process does at a time, on average
MOST_AWAKE = 4  # of its threads, for each core that it uses


class Cost(NamedTuple):
    """What one frame took with no other pipeline on the machine."""

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
    deadline_ns: int
    costs: Sequence[Cost]
    """In the order they were measured; at least one."""


@dataclass(frozen=True, slots=True)
class Load:
    """One pipeline."""

    name: str
    sources: Sequence[SourceLoad]
    place: Place
    drop_late: bool = True
    every: int = 1
    """Only every n-th frame of a source is run."""
    batch: int = 1
    """How many frames can share a forward pass."""
    max_wait_ns: int = 0
    """How long a frame may wait for others to share it."""
    batches_ns: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """How long forward passes of several frames took, by how many."""
    engine_threads: float = 1.0
    """Threads that the forward pass keeps busy."""
    capture_share: float = 0.0
    """Of a core, that capturing uses: waiting for a camera costs time, but no work."""
    chores_ns: float = 0.0
    """Of work beside each frame's way: rehearsing, watching the clock, handing on the result."""


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
    def due(self) -> int:
        """Frames that should have had a result."""
        return self.answered + self.deadline + self.lost

    @property
    def arrived(self) -> int:
        """All frames that fell due."""
        return self.due + self.mailbox

    def percentile_ns(self, q: float) -> float:
        """Return a percentile of the latencies; infinite where there is none."""
        if not self.latencies_ns:
            return math.inf
        return float(np.percentile(self.latencies_ns, q, method="inverted_cdf"))

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
    """What one pipeline did in a stretch of time."""

    sources: list[SourceOutcome]
    engine_ns: float = 0.0
    """In forward passes."""
    capture_ns: float = 0.0
    """In capturing, had there been a core for it at once."""
    cpu_ns: float = 0.0

    def add(self, other: LoadOutcome) -> None:
        """Add another stretch of time."""
        self.engine_ns += other.engine_ns
        self.capture_ns += other.capture_ns
        self.cpu_ns += other.cpu_ns
        for mine, theirs in zip(self.sources, other.sources, strict=True):
            mine.add(theirs)


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of a device, and who else uses them."""

    numbers: frozenset[int]
    slice_ns: float
    """How long a thread runs before another that wants the core has its turn."""
    others: float = 0.0
    """How many of them other processes use, on average."""


@dataclass(slots=True)
class _Others:
    """The other processes: threads that wake up at random and have some work each."""

    machine: SimulatedMachine
    cores: Cores
    generator: np.random.Generator
    cpu_ns: float = 0.0
    _awake: int = 0

    def wait(self) -> None:
        """Let the next thread wake up after a while."""
        pause_ns = self.generator.exponential(OTHERS_WORK_NS / self.cores.others)
        self.machine.at(self.machine.now_ns + pause_ns, self._wake)

    def _wake(self) -> None:
        self.wait()
        if self._awake <= self.cores.others * MOST_AWAKE:
            self._awake += 1
            length_ns = self.generator.exponential(OTHERS_WORK_NS)
            self.machine.work(Work(Place(self.cores.numbers), length_ns, self, self._done))

    def _done(self) -> None:
        self._awake -= 1


def simulate(
    loads: Sequence[Load],
    cores: Cores,
    *,
    seconds: float,
    generator: np.random.Generator,
    rate: float = 1.0,
) -> list[LoadOutcome]:
    """Return what these pipelines do side by side in so many seconds.

    The first frame of each source falls due at random within its first period. `rate` multiplies
    the rates of all live sources.
    """
    machine = SimulatedMachine(cores.numbers, slice_ns=cores.slice_ns)
    if cores.others > 0:
        _Others(machine, cores, generator).wait()
    outcomes = [LoadOutcome([SourceOutcome() for _ in load.sources]) for load in loads]
    for load, outcome in zip(loads, outcomes, strict=True):
        SimulatedLoop(machine, load, outcome, generator, rate=rate).start()
    machine.run(seconds * 1e9)
    return outcomes
