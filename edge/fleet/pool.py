"""The latest histogram of each pipeline, added up: a fleet's percentile is the pooled samples'."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from numpy.typing import NDArray

MOST_WAITING = 32 << 20  # characters of histograms that are not decoded yet
MOST_COUNTERS = 4_000_000  # of all histograms: 48 MB; a pipeline's five minutes have some 1,000
MOST_RECORDED = 1 << 48  # values in one histogram; sums of 10,000 of them still fit 63 bits
REFERENCE = Histogram()
"""What devices record with; others cannot be added to it."""


class Decoded(NamedTuple):
    """A histogram's counters that are not zero."""

    indices: NDArray[np.int32]  # (n,)
    counts: NDArray[np.int64]  # (n,)
    version: int
    """Another one, in all the pool, for each histogram that came."""


class Pool:
    """Takes histograms as they travel and decodes them when somebody looks.

    So a device that reports a hundred times between two looks costs one decoding. The memory is
    bounded whatever comes: what does not fit is left out and `left_out` says why.
    """

    def __init__(
        self, *, most_waiting: int = MOST_WAITING, most_counters: int = MOST_COUNTERS
    ) -> None:
        """The bounds are in characters not decoded yet, and in counters kept."""
        self._most_waiting, self._most_counters = most_waiting, most_counters
        self._waiting: dict[Hashable, str] = {}
        self._characters = 0
        self._decoded: dict[Hashable, Decoded] = {}
        self._counters = 0
        self._version = 0
        self.left_out: dict[Hashable, str] = {}
        """Why a histogram is not in the figures."""

    def put(self, key: Hashable, text: str) -> None:
        """Take the newest histogram of `key`, in base64; it replaces the one before."""
        others = self._characters - len(self._waiting.get(key, ""))
        if others + len(text) > self._most_waiting:
            self.drop(key)
            self.left_out[key] = "too many wait to be decoded"
            return
        self._characters = others + len(text)
        self._waiting[key] = text  # in its place of before, so that nobody is overtaken

    def drop(self, key: Hashable) -> None:
        """Forget all of `key`."""
        self._characters -= len(self._waiting.pop(key, ""))
        self._forget_decoded(key)
        self.left_out.pop(key, None)

    def settle(self, *, at_most_s: float, clock: Callable[[], float] = time.perf_counter) -> int:
        """Decode what waits, for at most so long; return how many wait still."""
        end_s = clock() + at_most_s
        while self._waiting and clock() < end_s:
            key = next(iter(self._waiting))
            text = self._waiting.pop(key)
            self._characters -= len(text)
            self._forget_decoded(key)
            try:
                self._keep(key, text)
            except ValueError as error:
                self.left_out[key] = str(error)
            else:
                self.left_out.pop(key, None)
        return len(self._waiting)

    def _keep(self, key: Hashable, text: str) -> None:
        histogram = decode(text)
        if histogram.parameters != REFERENCE.parameters:
            raise ValueError(
                f"its (lowest, highest, figures) are {histogram.parameters}, not "
                f"{REFERENCE.parameters}"
            )
        counts = histogram.counts
        if histogram.count > MOST_RECORDED:
            raise ValueError(f"more than {MOST_RECORDED} values")
        if self._counters + len(counts) > self._most_counters:
            raise ValueError(f"all together have more than {self._most_counters:,} counters")
        self._version += 1
        self._counters += len(counts)
        self._decoded[key] = Decoded(
            np.fromiter(counts.keys(), np.int32, len(counts)),
            np.fromiter(counts.values(), np.int64, len(counts)),
            self._version,
        )

    def _forget_decoded(self, key: Hashable) -> None:
        before = self._decoded.pop(key, None)
        if before is not None:
            self._counters -= len(before.indices)

    def version(self, key: Hashable) -> int:
        """Return a number that changes with the histogram; 0 where there is none."""
        decoded = self._decoded.get(key)
        return 0 if decoded is None else decoded.version

    def merged(self, keys: Iterable[Hashable]) -> Histogram:
        """Return what one histogram would hold that had recorded all of theirs."""
        merged = Histogram(*REFERENCE.parameters)
        total = np.zeros(merged.counts_length, np.int64)
        for key in keys:
            decoded = self._decoded.get(key)
            if decoded is not None:
                total[decoded.indices] += decoded.counts  # no index stands there twice
        indices = np.flatnonzero(total)
        merged.add_counts(dict(zip(indices.tolist(), total[indices].tolist(), strict=True)))
        return merged
