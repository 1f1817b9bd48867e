"""Measures subjects in turns: each in its own process, short slices, one at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge.lab.probe_wire import Slice
from edge.lab.subject import Probe, Subject
from edge.lab.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

SLICES = 20  # at least so many a subject, so that their spread can be told
# Of each slice, for the others have emptied the caches; a short one warms up as long as it lasts.
WARM_UP_S, WARM_UP_INVOKES = 0.05, 2
PACED_INVOKES = 5  # a slice's, at least
PACED_WARM_UP_INVOKES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast each subject is measured."""

    seconds: float
    """At least so long a subject, all its slices together, without warm-up."""
    rate_hz: float | None = None
    """Starts a second of the invokes; None: each follows the last at once."""

    @property
    def slice_s(self) -> float:
        """Length of one slice."""
        slice_s = self.seconds / SLICES
        return slice_s if self.rate_hz is None else max(slice_s, PACED_INVOKES / self.rate_hz)

    @property
    def slices(self) -> int:
        """How many slices a subject takes, if none of its invokes is longer than one."""
        return max(1, round(self.seconds / self.slice_s))

    @property
    def order(self) -> Slice:
        """What a probe is asked for in each turn."""
        paced = self.rate_hz is not None
        return Slice(
            warm_up_ns=0 if paced else round(min(WARM_UP_S, self.slice_s) * 1e9),
            warm_up_invokes=PACED_WARM_UP_INVOKES if paced else WARM_UP_INVOKES,
            measure_ns=round(self.slice_s * 1e9),
            period_ns=round(1e9 / self.rate_hz) if self.rate_hz is not None else 0,
        )


@dataclass(slots=True)
class Run:
    """A subject and what was measured of it so far."""

    probe: Probe
    slices_ns: list[NDArray[np.int64]] = field(default_factory=list)
    """The durations of each slice's invokes."""
    elapsed_ns: int = 0
    warm_up_invokes: int = 0
    rss_bytes: int = 0

    @property
    def subject(self) -> Subject:
        """What was measured."""
        return self.probe.subject


@dataclass(frozen=True, slots=True)
class Failure:
    """A subject that could not be measured, and why."""

    subject: Subject
    error: EdgeError


def measure(
    subjects: Sequence[Subject], plan: Plan, on_slice: Callable[[], None]
) -> tuple[list[Run], list[Failure]]:
    """Measure all subjects in turns; return those that lasted and those that failed.

    The control, which has to be among the subjects where it is wanted, takes its turns like any
    other. All are loaded first and stay loaded, so their memory must fit together. `on_slice` is
    called after each slice.
    """
    failures: list[Failure] = []
    with contextlib.ExitStack() as stack:
        runs = []
        for subject in subjects:
            try:
                probe = Probe(subject)
            except EdgeError as error:
                failures.append(Failure(subject, error))
            else:
                stack.callback(probe.close)
                runs.append(Run(probe))
        failed: set[Subject] = set()

        def wants_more(run: Run) -> bool:
            return run.subject not in failed and run.elapsed_ns < plan.seconds * 1e9

        for run in in_turns(runs, wants_more):
            try:
                _take_slice(run, plan.order)
            except EdgeError as error:
                failures.append(Failure(run.subject, error))
                failed.add(run.subject)
            on_slice()
    return [run for run in runs if run.subject not in failed], failures


def _take_slice(run: Run, order: Slice) -> None:
    samples_ns, ended = run.probe.measure(order)
    run.slices_ns.append(samples_ns)
    run.elapsed_ns += ended.elapsed_ns
    run.warm_up_invokes += ended.warm_up_invokes
    run.rss_bytes = max(run.rss_bytes, run.probe.rss_bytes)
