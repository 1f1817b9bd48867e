"""Whether one classifier is really better than another on the same samples, or only by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNIFICANT = 0.05
Z_95 = 1.959964  # the standard normal distribution's 97.5th percentile


@dataclass(frozen=True, slots=True)
class Gain:
    """What a classifier gained over another on the samples that both answered."""

    won: int
    """Samples that only it had right."""
    lost: int
    """Samples that only the other had right."""
    of: int

    @property
    def share(self) -> float:
        """Gain in accuracy, as a part of one; below 0 it lost."""
        return (self.won - self.lost) / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`.

        A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions,
        Statistics in Medicine 24 (2005): Wald's, with half a sample more in each of four cells.
        """
        won, lost, of = self.won + 0.5, self.lost + 0.5, self.of + 2
        middle = (won - lost) / of
        half = Z_95 * math.sqrt((won + lost) - (won - lost) ** 2 / of) / of
        return max(-1.0, middle - half), min(1.0, middle + half)

    @property
    def p_value(self) -> float:
        """How likely chance alone makes so great a difference, either way: McNemar's exact test.

        Of the samples that only one had right, each is then as likely the one's as the other's.
        """
        differing, fewer = self.won + self.lost, min(self.won, self.lost)
        tail = sum(math.comb(differing, count) for count in range(fewer + 1)) / 2**differing
        return min(1.0, float(2 * tail))

    @property
    def by_chance(self) -> bool:
        """Whether so great a difference is no wonder where there is none."""
        return self.p_value >= SIGNIFICANT

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it, in percentage points."""
        low, high = self.interval
        return {
            "points": round(100 * self.share, 2),
            "interval_95": f"{100 * low:+.2f} to {100 * high:+.2f}",
            "only_it_right": self.won,
            "only_the_other_right": self.lost,
            "of": self.of,
            "p": round(self.p_value, 4),
        }

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{100 * self.share:+.2f} points (95 % interval {100 * low:+.2f} to {100 * high:+.2f}; "
            f"only it right {self.won}, only the other {self.lost}, p = {self.p_value:.2g})"
        )


def gain(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Gain:
    """Return what the one gained over the other; both say of each sample whether it was right."""
    return Gain(int((one & ~other).sum()), int((other & ~one).sum()), len(one))
