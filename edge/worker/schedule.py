"""Who is next: earliest deadline first, no source starves, batches only where they harm nobody.

No threads and no clock in here: the loop's mailbox asks it, and so does a simulation of the loop.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KNOWN_PASSES = 8  # what the next forward pass of a size will take is told from so many
NEVER_NS = 1 << 62
NO_PLACE_NS = 1 << 63  # later than any: a capture time and NEVER_NS together stay below


class Costs:
    """What answering so many frames at once takes, from the last times it was done."""

    def __init__(self) -> None:
        self._known: dict[int, deque[int]] = {}

    def take(self, size: int, spent_ns: int) -> None:
        """Take in how long it took."""
        known = self._known.get(size)
        if known is None:
            known = self._known[size] = deque(maxlen=KNOWN_PASSES)
        known.append(spent_ns)

    def least(self, size: int) -> int:
        """Return the shortest of the last times; 0 before the first."""
        return self._estimate(size, min)

    def most(self, size: int) -> int:
        """Return the longest of the last times; 0 before the first."""
        return self._estimate(size, max)

    def _estimate(self, size: int, of: Callable[[deque[int]], int]) -> int:
        """For a size not yet seen: on the line between its neighbours, or in proportion."""
        if (known := self._known.get(size)) is not None:
            return of(known)
        smaller = max((each for each in self._known if each < size), default=0)
        larger = min((each for each in self._known if each > size), default=0)
        low_ns = of(self._known[smaller]) if smaller else 0
        if not larger:
            return low_ns * size // smaller if smaller else 0
        high_ns = of(self._known[larger])
        return low_ns + (high_ns - low_ns) * (size - smaller) // (larger - smaller)


class Way(Protocol):
    """What frames are prepared for; those of different ways share no forward pass."""

    @property
    def batch(self) -> int:
        """How many frames its model can run at once."""

    @property
    def costs(self) -> Costs:
        """What that takes."""


class Frame(Protocol):
    """A frame that is ready for the model."""

    source: int
    captured_ns: int
    prepared_ns: int
    due_ns: int
    """When it must be answered by the place it has in the queue; set by the schedule."""

    @property
    def way(self) -> Way:
        """What it was prepared for."""


F = TypeVar("F", bound=Frame)


class Next(NamedTuple, Generic[F]):
    """What to do next; both may be empty."""

    run: list[F]
    """Together, in one forward pass."""
    late: list[F]
    """Dropped: their deadline has passed."""


class Schedule(Generic[F]):
    """The frames that wait for the engine, and the order in which they get it.

    Each source has room for one frame, or for its share of a batch; a newer one takes the place of
    the oldest and inherits its turn. So it is earliest deadline first while the engine keeps up;
    and when it does not, who was passed over comes before who was just served: with frames
    enough from all of them, sources of one deadline are served in turn, and no slow one starves.
    """

    def __init__(
        self,
        deadlines_ns: Sequence[int],
        *,
        drop_late: bool,
        max_size: int = 1,
        max_wait_ns: int = 0,
    ) -> None:
        """Plan for one source a deadline, from capture to result; for a pulled one NEVER_NS.

        `max_size` is the largest batch, `max_wait_ns` how long frames may wait for others.
        """
        self._deadlines_ns = deadlines_ns
        self._drop_late = drop_late
        self._max_wait_ns = max_wait_ns
        self._queues: list[deque[F]] = [deque() for _ in deadlines_ns]
        self._places_ns = [NO_PLACE_NS for _ in deadlines_ns]
        self.make_room(max_size)
        self.waiting = 0
        """How many frames wait."""
        self.replaced = [0 for _ in deadlines_ns]
        """Frames of each source that a newer one replaced."""

    def make_room(self, max_size: int) -> None:
        """Let as many frames wait as make a batch of this size, the same number of each source."""
        self.room = -(-max_size // len(self._deadlines_ns))
        """How many frames of each source can wait."""

    def waits(self, source: int) -> int:
        """Return how many frames of a source wait."""
        return len(self._queues[source])

    def put(self, frame: F) -> F | None:
        """Let a frame wait; return the one that it replaced."""
        queue = self._queues[frame.source]
        due_ns = frame.captured_ns + self._deadlines_ns[frame.source]
        frame.due_ns = min(due_ns, self._places_ns[frame.source])
        self._places_ns[frame.source] = NO_PLACE_NS
        queue.append(frame)
        if len(queue) <= self.room:
            self.waiting += 1
            return None
        oldest = queue.popleft()
        queue[0].due_ns = oldest.due_ns
        self.replaced[frame.source] += 1
        return oldest

    def pass_over(self, source: int, captured_ns: int) -> None:
        """Count a frame as replaced before it was ready; the next of its source has its place."""
        self.replaced[source] += 1
        if not self._queues[source]:
            due_ns = captured_ns + self._deadlines_ns[source]
            self._places_ns[source] = min(due_ns, self._places_ns[source])

    def ahead(self, source: int) -> int:
        """Return how many forward passes come before a frame that this source gives now."""
        mine = self._queues[source][0].due_ns if self._queues[source] else self._places_ns[source]
        others = (queue[0].due_ns for queue in self._queues if queue)
        return sum(due_ns < mine for due_ns in others)

    def take(self, now_ns: int, coming: Callable[[], Sequence[int | None]]) -> Next[F]:
        """Take what is to be run now, and what it is too late for.

        `coming` tells when the next frame of each source falls due, None where nobody knows.
        """
        late: list[F] = []
        if self._drop_late:
            for queue, deadline_ns in zip(self._queues, self._deadlines_ns, strict=True):
                while queue and now_ns > queue[0].captured_ns + deadline_ns:
                    late.append(queue.popleft())
        line = self._line()
        run = line[: self._size(line, now_ns, coming)]
        for frame in run:
            self._queues[frame.source].popleft()
        self.waiting -= len(run) + len(late)
        return Next(run, late)

    def wait_until(self, now_ns: int, coming: Callable[[], Sequence[int | None]]) -> int | None:
        """Return until when an idle engine should wait for more frames to share its next pass.

        None when it should not: nothing waits, the batch is full, no frame will come in time, or
        one that waits, or comes later, could miss a deadline for it.
        """
        if not self._max_wait_ns or not self.waiting:
            return None
        line = self._line()
        costs, larger = line[0].way.costs, len(line) + 1
        if larger > line[0].way.batch:
            return None
        least_ns, most_ns, together_ns = costs.least(1), costs.most(1), costs.most(larger)
        until_ns = min(frame.prepared_ns for frame in line) + self._max_wait_ns
        due = coming()
        if all(due_ns is not None and due_ns > until_ns for due_ns in due):
            return None
        for place, frame in enumerate(line, 1):
            own_ns = self._deadlines_ns[frame.source]
            deadline_ns = frame.captured_ns + own_ns
            if now_ns + place * least_ns > deadline_ns:
                return None  # it is missed anyway, and should be out of the way soon
            # Frames of tighter deadlines may come last of all, and go before it one by one.
            tighter = sum(other_ns < own_ns for other_ns in self._deadlines_ns)
            until_ns = min(until_ns, deadline_ns - together_ns - tighter * most_ns)
        # Whoever comes just after the pass has begun waits for its end, and for all who come too.
        behind_ns = together_ns + len(due) * most_ns
        for due_ns, own_ns in zip(due, self._deadlines_ns, strict=True):
            if own_ns < behind_ns:
                soon_ns = now_ns if due_ns is None else due_ns
                if soon_ns < until_ns + together_ns:
                    until_ns = min(until_ns, soon_ns + own_ns - behind_ns)
        return until_ns if until_ns > now_ns else None

    def _line(self) -> list[F]:
        """Return all that wait, by the time they must be answered; frames of one way only."""
        line = [frame for queue in self._queues for frame in queue]
        if len(line) > 1:
            line.sort(key=attrgetter("due_ns"))
            way = line[0].way
            line = list(takewhile(lambda frame: frame.way is way, line))
        return line

    def _size(self, line: list[F], now_ns: int, coming: Callable[[], Sequence[int | None]]) -> int:
        """Return how many of the line go into the next forward pass; 0 when nothing waits."""
        most = min(len(line), line[0].way.batch) if len(line) > 1 else 1
        for size in range(most, 1, -1):
            if self._harms_none(line, size, now_ns, coming()):
                return size
        return min(len(line), 1)

    def _harms_none(
        self, line: list[F], size: int, now_ns: int, coming: Sequence[int | None]
    ) -> bool:
        """Whether nobody misses a deadline for this batch that he meets when all run alone.

        For those alone the shortest times known are counted, for the batch the longest.
        """
        costs = line[0].way.costs
        least_ns, most_ns = costs.least(1), costs.most(1)
        end_ns = now_ns + costs.most(size)
        for place, frame in enumerate(line):
            deadline_ns = frame.captured_ns + self._deadlines_ns[frame.source]
            behind = max(place + 1 - size, 0)
            if end_ns + behind * most_ns <= deadline_ns:
                continue
            met_alone = now_ns + (place + 1) * least_ns <= deadline_ns
            if met_alone or (self._drop_late and not behind):
                return False  # a seat for who is late all the same would only hold up others
        if min(self._deadlines_ns) == NEVER_NS:
            return True
        if costs.least(size) > size * least_ns:
            return False  # what it costs more would add up
        # Those who come meanwhile wait for its end, for who is left behind, and for one another.
        comers = [
            (soon_ns + own_ns, own_ns)
            for due_ns, own_ns in zip(coming, self._deadlines_ns, strict=True)
            if (soon_ns := now_ns if due_ns is None else max(due_ns, now_ns)) < end_ns
        ]
        for place, (deadline_ns, own_ns) in enumerate(sorted(comers), len(line) - size + 1):
            if least_ns <= own_ns and end_ns + place * most_ns > deadline_ns:
                return False
        return True
