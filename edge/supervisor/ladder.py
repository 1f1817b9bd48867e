"""Decides when a pipeline goes down its ladder, and when up again: told the time, touching nothing.

Down is easy: too many frames miss their deadline, or the device is too hot. The art is in going
up: not before there is room, and yet soon after there is. A rung's own frames tell: each of them
costs more while others want the cores, so when the same rung's frames cost clearly less than they
did, the load has gone. Where they tell nothing, the rung above is tried now and then. Each try is
cut short at its second miss, and one that failed makes the next wait longer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edge.latency.sliding import ENOUGH_FOR_P99, Judged, SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config.ladder import Ladder
    from edge.supervisor.sensors import Reading

FEWEST_FRAMES = 20  # of a slow source the window holds as many, however old
FEWEST_MISSES, FEWEST_IN_A_TRY = 3, 2
STALL_SHARE = 0.1  # of the window: misses closer together are one stall of the machine
LOAD_GONE = 0.6  # of what frames cost under load
COST_LIMIT = 2.0  # deadlines: a frame that stood still says nothing of the others
COOLER_C = 5.0  # below the limit there is room again
COOL_S = 30.0  # for so long
SETTLE_S = 20.0  # a device takes so long to answer a step with its temperature
COOLING_C = 1.0  # colder by so much within it: the step helps
SHORT_STAY_S, SHORT_STAY_COOL_S = 60.0, 600.0  # left again within it: entered too early
PATIENCE = 20  # times `retry_s`: the longest wait
HOLDS_BACK = ("under-voltage", "frequency capped", "throttled")
# Not the soft temperature limit: a 3B+ lives there, and what it costs the deadlines tell.

Reason = Literal[
    "misses", "p99", "relapse", "temperature", "throttled", "load_gone", "cooled", "retry"
]
HEAT: tuple[Reason, ...] = ("temperature", "throttled", "cooled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was known when a step was decided."""

    frames: int
    """Judged in the window."""
    misses: int
    """How many of them missed their deadline."""
    p99_ms: float | None
    """Null below 100 frames."""
    max_ms: float | None
    cost_ms: float | None
    """Mean time a frame took, less the shortest that capturing one takes here."""
    cost_ratio: float | None
    """To the most it was on this rung under load."""
    temperature_c: float | None
    throttled: list[str]


class Step(NamedTuple):
    """A rung to go to, and why."""

    rung: int
    reason: Reason
    because: str
    """In words, to follow a colon."""
    evidence: dict[str, Any]


class LadderController:
    """Watches the frames of one pipeline and what the device feels; says where to go.

    Times are seconds on any clock that does not go back. After a `Step` nothing is decided until
    it was made (`arrived`) or will not be (`left_out`, `stayed`).
    """

    def __init__(
        self,
        ladder: Ladder,
        names: Sequence[str],
        *,
        deadlines_ms: Sequence[float],
        now_s: float,
    ) -> None:
        """`names` are those of all rungs, from the best; the deadlines those of all sources."""
        self.rung = 0
        self.exhausted = ""
        """Why there was reason to step down where nothing is below, in words."""
        self._ladder = ladder
        self._names = names
        self._deadlines_ms = deadlines_ms
        self._window = SlidingWindow(
            ladder.window_s, at_least=FEWEST_FRAMES, now_s=now_s, limit_ms=ladder.max_p99_ms
        )
        self._entered_s = now_s
        self._asked: Step | None = None
        self._came_by: Step | None = None
        self._upward = False
        self._capture_ms: dict[int, float] = {}  # the shortest, by rung
        self._costliest_ms: dict[int, float] = {}  # mean cost under load, by rung
        self._room_since_s: float | None = None
        self._waited_s = 0.0  # for the room that the last step up was made into
        self._false_signs: Counter[int] = Counter()
        self._failed_tries: Counter[int] = Counter()
        self._unavailable: set[int] = set()
        self._reading: Reading | None = None
        self._heat_step: tuple[float, float | None] | None = None  # when, and how hot it was

    def frame(
        self, now_s: float, *, latency_ms: float, capture_ms: float, missed: bool, ran: bool
    ) -> None:
        """Take in a frame of the present rung; `ran` is False where the cache answered."""
        least_ms = min(self._capture_ms.get(self.rung, capture_ms), capture_ms)
        self._capture_ms[self.rung] = least_ms
        cost_ms = min(latency_ms - least_ms, COST_LIMIT * max(self._deadlines_ms))
        self._window.add(Judged(now_s, latency_ms, missed, cost_ms if ran else None))

    def feel(self, reading: Reading) -> None:
        """Take in a look at the sensors."""
        self._reading = reading

    def decide(self, now_s: float) -> Step | None:
        """Return the step to make now; None to stay."""
        if self._asked is not None:
            return None
        reason = self._late(now_s) or self._hot(now_s)
        self._asked = self._down(now_s, reason) if reason else self._up(now_s)
        return self._asked

    def arrived(self, rung: int, now_s: float) -> None:
        """Begin anew on a rung: its first frame has come."""
        downward = rung > self.rung
        if downward:
            self._learn_from_the_stay(now_s)
        if self._asked is not None and self._asked.rung == rung:
            self._came_by = self._asked
        self._asked, self.rung, self._entered_s = None, rung, now_s
        self._upward, self.exhausted, self._room_since_s = not downward, "", None
        if downward:
            self._costliest_ms.pop(rung, None)
        self._window.restart(now_s)

    def left_out(self, rung: int) -> None:
        """Do without a rung from now on: it cannot be had."""
        self._unavailable.add(rung)
        self.stayed()

    def stayed(self) -> None:
        """Forget the step that was asked for: it was not made."""
        self._asked = None

    def _learn_from_the_stay(self, now_s: float) -> None:
        """Wait longer the next time for a rung that had to be left soon after a step up."""
        came_by = self._came_by
        if came_by is None or not self._upward:
            return
        short_s = SHORT_STAY_COOL_S if came_by.reason in HEAT else SHORT_STAY_S
        if now_s - self._entered_s > max(short_s, self._waited_s):
            self._failed_tries[self.rung] = self._false_signs[self.rung] = 0
        else:
            tried = came_by.reason == "retry"
            (self._failed_tries if tried else self._false_signs)[self.rung] += 1

    # Down.

    def _late(self, now_s: float) -> Reason | None:
        """Return what the frames' latency gives as a reason to step down."""
        window, ladder = self._window, self._ladder
        if self._too_many_misses():
            on_probation = self._upward and not window.full(now_s)
            if on_probation and window.misses >= FEWEST_IN_A_TRY:
                return "relapse"
            in_a_row_s = STALL_SHARE * ladder.window_s
            if window.misses >= FEWEST_MISSES and window.misses_spread_s >= in_a_row_s:
                return "misses"
        if window.frames >= ENOUGH_FOR_P99 and window.over_limit > window.frames / 100:
            return "p99"
        return None

    def _too_many_misses(self) -> bool:
        return self._window.misses > self._ladder.max_miss_share * self._window.frames

    def _hot(self, now_s: float) -> Reason | None:
        """Return what the sensors give as a reason, unless the last step on it shall work yet."""
        limit_c, degrees = self._ladder.max_temperature_c, self._temperature_c
        if limit_c is not None and degrees is not None and degrees > limit_c:
            reason: Reason = "temperature"
        elif self._held_back():
            reason = "throttled"
        else:
            if not self._warm():
                self._heat_step = None
            return None
        if self._heat_step is not None:
            since_s, then_c = self._heat_step
            if now_s - since_s < SETTLE_S:
                return None
            if degrees is not None and then_c is not None and degrees <= then_c - COOLING_C:
                self._heat_step = now_s, degrees  # it helps: look again later
                return None
        return reason

    @property
    def _temperature_c(self) -> float | None:
        return self._reading.temperature_c if self._reading is not None else None

    def _held_back(self) -> list[str]:
        if self._reading is None or not self._ladder.heed_throttling:
            return []
        return [word for word in self._reading.throttled if word in HOLDS_BACK]

    def _down(self, now_s: float, reason: Reason) -> Step | None:
        self._room_since_s = None
        below = self._next(+1)
        if below is None:
            self.exhausted = self.exhausted or self._step(self.rung, reason).because
            return None
        if reason in HEAT:
            self._heat_step = now_s, self._temperature_c
        self._note_cost()
        return self._step(below, reason)

    # Up.

    def _up(self, now_s: float) -> Step | None:
        """Return the step up where there is room, or where it is time to try."""
        above = self._next(-1)
        if above is None or not self._window.full(now_s):
            return None
        if self._too_many_misses() or self._warm():
            self._room_since_s = None
            return None
        self._note_cost()
        for_heat = self._came_by is not None and self._came_by.reason in HEAT
        if self._room(for_heat=for_heat):
            self._room_since_s = now_s if self._room_since_s is None else self._room_since_s
            first_s = COOL_S if for_heat else self._ladder.window_s
            wait_s = self._patiently(first_s, self._false_signs[above])
            if now_s - self._room_since_s >= wait_s:
                self._waited_s = wait_s
                return self._step(above, "cooled" if for_heat else "load_gone")
        else:
            self._room_since_s = None
        wait_s = self._patiently(self._ladder.retry_s, self._failed_tries[above])
        if not for_heat and now_s - self._entered_s >= wait_s:
            self._waited_s = wait_s
            return self._step(above, "retry")
        return None

    def _patiently(self, first_s: float, failures: int) -> float:
        """Return how long to wait: twice as long after each failure, up to a limit."""
        return min(first_s * 2.0**failures, PATIENCE * self._ladder.retry_s)

    def _warm(self) -> bool:
        """Whether the device is too warm for more."""
        limit_c, degrees = self._ladder.max_temperature_c, self._temperature_c
        warm = limit_c is not None and degrees is not None and degrees > limit_c - COOLER_C
        return warm or bool(self._held_back())

    def _note_cost(self) -> None:
        """Remember the most that frames cost on this rung since it was entered from above."""
        cost_ms = self._window.mean_cost_ms
        if cost_ms is not None:
            known_ms = self._costliest_ms.get(self.rung, cost_ms)
            self._costliest_ms[self.rung] = max(known_ms, cost_ms)

    def _room(self, *, for_heat: bool) -> bool:
        """Whether what drove us from the rung above has gone."""
        ratio = self._cost_ratio
        return for_heat or (ratio is not None and ratio <= LOAD_GONE)

    @property
    def _cost_ratio(self) -> float | None:
        cost_ms, most_ms = self._window.mean_cost_ms, self._costliest_ms.get(self.rung)
        return cost_ms / most_ms if cost_ms is not None and most_ms else None

    # The step.

    def _next(self, direction: int) -> int | None:
        rung = self.rung + direction
        while rung in self._unavailable:
            rung += direction
        return rung if 0 <= rung < len(self._names) else None

    def _step(self, rung: int, reason: Reason) -> Step:
        window, reading, ratio = self._window, self._reading, self._cost_ratio
        evidence = Evidence(
            frames=window.frames,
            misses=window.misses,
            p99_ms=_rounded(window.p99_ms()),
            max_ms=_rounded(window.max_ms()),
            cost_ms=_rounded(window.mean_cost_ms),
            cost_ratio=_rounded(ratio),
            temperature_c=_rounded(self._temperature_c),
            throttled=list(reading.throttled) if reading is not None else [],
        )
        return Step(rung, reason, self._because(reason, evidence), asdict(evidence))

    def _because(self, reason: Reason, evidence: Evidence) -> str:
        ladder = self._ladder
        first_ms, *others_ms = set(self._deadlines_ms)
        deadline = "their deadlines" if others_ms else f"the deadline of {first_ms:g} ms"
        missed = f"{evidence.misses} of {evidence.frames} frames missed {deadline}"
        words: dict[Reason, str] = {
            "misses": missed,
            "relapse": f"{missed} right after the step up",
            "p99": f"the P99 is {evidence.p99_ms} ms, above {ladder.max_p99_ms} ms",
            "temperature": f"{evidence.temperature_c} C, above {ladder.max_temperature_c} C",
            "throttled": f"the firmware holds the cores back: {', '.join(evidence.throttled)}",
            "load_gone": f"a frame takes {evidence.cost_ms} ms here, {evidence.cost_ratio} of what "
            "it did under load",
            "cooled": f"cool, and not held back, for {self._waited_s:g} s",
            "retry": f"a try after {self._waited_s:g} s",
        }
        return words[reason]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
