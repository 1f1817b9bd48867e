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


class Ratio(NamedTuple):
    """A ratio of two medians with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def can_tell(self) -> bool:
        """Whether the interval leaves out 1, that is: whether there is a difference to tell."""
        return not self.low <= 1 <= self.high


def ratio(now: Sequence[float], then: Sequence[float]) -> Ratio | None:
    """Return now / then from the medians of their slices; None where there are too few slices.

    The value is the ratio of the medians of slice medians. The interval is the percentile
    bootstrap's (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13):
    slices, not single invokes, are drawn anew, because what disturbs a machine lasts longer than
    an invoke and hits neighbouring ones together.
    """
    if min(len(now), len(then)) < FEWEST_SLICES:
        return None
    generator = np.random.default_rng(SEED)
    ratios = _medians_of_resamples(now, generator) / _medians_of_resamples(then, generator)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(float(np.median(now) / np.median(then)), float(low), float(high))


def _medians_of_resamples(
    slices: Sequence[float], generator: np.random.Generator
) -> NDArray[np.float64]:
    drawn = generator.choice(np.asarray(slices), (RESAMPLES, len(slices)))
    return np.asarray(np.median(drawn, axis=1))
