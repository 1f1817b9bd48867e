"""Figures of a sample of durations, and how sure a ratio of two samples is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.latency.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ONE_HOUR_NS = 3_600_000_000_000
RESAMPLES = 4000
FEWEST_SLICES = 8  # below that, resampling knows too few values to tell their spread
SEED = 4


def histogram_ns(samples_ns: Sequence[NDArray[np.int64]]) -> Histogram:
    """Return the HDR histogram, in nanoseconds, of all samples; each is kept to 0.1 %."""
    histogram = Histogram(1, ONE_HOUR_NS)
    values, counts = np.unique(np.concatenate(samples_ns), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record(value, count)
    return histogram


class Both(NamedTuple):
    """The same quantity in two runs: one value a slice, in the order they were measured."""

    now: Sequence[float]
    then: Sequence[float]


class Ratio(NamedTuple):
    """How two runs compare, now / then, and the 95 % interval of it."""

    value: float
    low: float
    high: float

    @property
    def can_tell(self) -> bool:
        """Whether the interval leaves out 1, that is: whether there is a difference to tell."""
        return not self.low <= 1 <= self.high


def ratio(subject: Both, control: Both | None = None) -> Ratio | None:
    """Return now / then of the medians of slices; None where there are too few slices.

    The interval is the percentile bootstrap's (B. Efron, R. Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13). Slices, not single invokes, are drawn anew: what disturbs a
    machine lasts longer than an invoke and hits neighbours together.

    Slices know nothing of what differed between the two runs all the time, such as a machine
    busier or clocked lower in one of them. The control knows: a fixed piece of work measured in
    both. The interval spans the ratio as it is and the ratio divided by the control's.
    """
    if min(map(len, (*subject, *(control or ())))) < FEWEST_SLICES:
        return None
    generator = np.random.default_rng(SEED)
    plain = _resampled(subject, generator)
    spans = [plain] if control is None else [plain, plain / _resampled(control, generator)]
    ends = [np.percentile(span, [2.5, 97.5]) for span in spans]
    value = float(np.median(subject.now) / np.median(subject.then))
    return Ratio(value, float(min(low for low, _ in ends)), float(max(high for _, high in ends)))


def _resampled(both: Both, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the ratio of medians for each of many draws of the slices."""
    now, then = (
        np.median(generator.choice(np.asarray(each), (RESAMPLES, len(each))), axis=1)
        for each in both
    )
    return np.asarray(now / then)
