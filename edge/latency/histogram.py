"""HDR histograms: values kept to a fixed relative precision, percentiles that merge exactly.

The bucket arithmetic is HdrHistogram's (`AbstractHistogram.java`), so counts, percentiles, minimum,
maximum and mean are the ones its Java original gives; `hdr_codec` carries them to others. Standard
library only: the supervisor holds dozens of these and must never import numpy (15 MB). Not for two
threads at once.
"""

import math
from collections.abc import Iterable, Mapping

MAX_VALUE = (1 << 63) - 1
MAX_FIGURES = 5
MAX_BASE_BITS = 62  # AbstractHistogram.init(): the first bucket has to fit a positive long
ONE_HOUR_US = 3_600_000_000


class Histogram:
    """Counts of non-negative integers, by default microseconds from 1 up to one hour.

    A value is kept to `significant_figures` decimal digits (3: to 0.1 %), and comes back as the
    lowest or highest value that shares its counter. A minute of latencies fills a few hundred of
    the 23,552 counters of the default range, so the counters are a dict by counts index.
    """

    __slots__ = (
        "_base_bits",
        "_counts",
        "_half_bits",
        "_mask",
        "_order",
        "_unit_bits",
        "counts_length",
        "highest_trackable",
        "lowest_trackable",
        "saturated",
        "significant_figures",
    )
    __hash__ = None  # type: ignore[assignment]  # mutable, compared by content

    def __init__(
        self,
        lowest_trackable: int = 1,
        highest_trackable: int = ONE_HOUR_US,
        significant_figures: int = 3,
    ) -> None:
        if not 1 <= significant_figures <= MAX_FIGURES:
            raise ValueError(f"a histogram keeps 1 to 5 figures, not {significant_figures}")
        if not 1 <= lowest_trackable <= highest_trackable // 2 <= MAX_VALUE // 2:
            raise ValueError(
                f"a histogram cannot track {lowest_trackable} to {highest_trackable}: the first "
                "must be at least 1, the second from twice the first to 2^63 - 1"
            )
        self.lowest_trackable = lowest_trackable
        self.highest_trackable = highest_trackable
        self.significant_figures = significant_figures
        # Single-unit resolution up to 2 * 10^figures, then half of it with each doubling.
        self._unit_bits = lowest_trackable.bit_length() - 1
        self._half_bits: int = (2 * 10**significant_figures - 1).bit_length() - 1
        self._base_bits = self._unit_bits + self._half_bits + 1
        if self._base_bits > MAX_BASE_BITS:
            raise ValueError(f"{lowest_trackable} leaves no room for {significant_figures} figures")
        self._mask = (1 << self._base_bits) - 1
        doublings = max(0, highest_trackable.bit_length() - self._base_bits)
        self.counts_length = (doublings + 2) << self._half_bits
        self._counts: dict[int, int] = {}
        self._order: list[int] = []  # the counts' indices, sorted when somebody asks
        self.saturated = 0
        """How many values were above the highest trackable one, and counted as that."""

    @property
    def parameters(self) -> tuple[int, int, int]:
        """Lowest and highest trackable value and significant figures; equal ones can merge."""
        return (self.lowest_trackable, self.highest_trackable, self.significant_figures)

    def record(self, value: int, count: int = 1) -> None:
        """Count `value`, `count` times; one above the highest trackable counts as that."""
        if value < 0 or count < 1:
            raise ValueError(f"a histogram cannot record the value {value} {count} times")
        if value > self.highest_trackable:
            value = self.highest_trackable
            self.saturated += count
        shift = (value | self._mask).bit_length() - self._base_bits
        index = (shift << self._half_bits) + (value >> (shift + self._unit_bits))
        counts = self._counts
        counts[index] = counts.get(index, 0) + count

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self._counts.values())

    @property
    def min(self) -> int:
        """The smallest value recorded, rounded down to its counter's lowest; 0 when empty."""
        return self._lowest(min(self._counts)) if self._counts else 0

    @property
    def max(self) -> int:
        """The greatest value recorded, rounded up to its counter's highest; 0 when empty."""
        return self._highest(max(self._counts)) if self._counts else 0

    @property
    def mean(self) -> float:
        """The mean of the counters' middle values; 0 when empty."""
        total = sum(self._median(index) * count for index, count in self._counts.items())
        return total / self.count if total else 0.0

    def percentile(self, q: float) -> int:
        """The value that `q` percent of those recorded do not exceed; 0 when empty.

        Rounded up to its counter's highest value; for q = 0 it is `min`.
        """
        if not 0 <= q <= 100:  # noqa: PLR2004
            raise ValueError(f"a percentile lies between 0 and 100, not at {q}")
        if q == 0:
            return self.min
        # One ulp less, lest float error carry the rank over the integer it stands for; as Java.
        rank = max(1, math.ceil(math.nextafter(q, 0) * self.count / 100))
        # Counters come but never go, except all at once in clear(): equal lengths, equal keys.
        if len(self._order) != len(self._counts):
            self._order = sorted(self._counts)
        seen = 0
        for index in self._order:
            seen += self._counts[index]
            if seen >= rank:
                return self._highest(index)
        return self.max

    def supported_percentile(self, q: float) -> int | None:
        """The percentile, or None where fewer than 1/(1 - q/100) values are no ground for one.

        That is 2 for P50, 20 for P95, 100 for P99, 1000 for P99.9; P100 is `max`, and None here.
        """
        # Rounded, because 1000 * (100 - 99.9) is 99.99999999999432.
        return None if round(self.count * (100 - q), 6) < 100 else self.percentile(q)  # noqa: PLR2004

    def counts_up_to(self, bounds: Iterable[int]) -> list[int]:
        """How many values were at most each of the bounds, as far as a counter tells."""
        counted = [(self._highest(index), count) for index, count in self._counts.items()]
        return [sum(count for value, count in counted if value <= bound) for bound in bounds]

    def merge(self, other: "Histogram") -> None:
        """Add what `other` recorded; the result is as if one histogram had recorded it all."""
        if self.parameters != other.parameters:
            raise ValueError(
                "histograms of different (lowest, highest, figures) cannot be merged: "
                f"{self.parameters} and {other.parameters}"
            )
        self.add_counts(other.counts)
        self.saturated += other.saturated

    @classmethod
    def merged(cls, histograms: Iterable["Histogram"]) -> "Histogram":
        """A new histogram of all of these together; of none, an empty one of default range."""
        parts = list(histograms)
        result = cls(*parts[0].parameters) if parts else cls()
        for part in parts:
            result.merge(part)
        return result

    def copy(self) -> "Histogram":
        """An independent histogram with the same content."""
        return self.merged([self])

    def clear(self) -> None:
        """Forget everything recorded."""
        self._counts.clear()
        self._order.clear()
        self.saturated = 0

    @property
    def counts(self) -> Mapping[int, int]:
        """The counters that are not zero, by HdrHistogram's counts index; not to be changed."""
        return self._counts

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Add counters by counts index, each index below `counts_length`, each count positive."""
        for index, count in counts.items():
            self._counts[index] = self._counts.get(index, 0) + count

    def __eq__(self, other: object) -> bool:
        """Same parameters and same counts; `saturated` is not compared, as no encoding has it."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.parameters == other.parameters and self._counts == other._counts

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, {self.min} to {self.max}>"

    def _shift(self, index: int) -> int:
        """How many low bits of a value its counter does not tell apart."""
        return max(0, (index >> self._half_bits) - 1) + self._unit_bits

    def _lowest(self, index: int) -> int:
        shift = self._shift(index)
        return (index - ((shift - self._unit_bits) << self._half_bits)) << shift

    def _highest(self, index: int) -> int:
        return self._lowest(index) + (1 << self._shift(index)) - 1

    def _median(self, index: int) -> int:
        return self._lowest(index) + ((1 << self._shift(index)) >> 1)
