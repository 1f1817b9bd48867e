"""Which channels of a network can be removed together, and how much each contributes.

Where an Add ties two channels they stay or go together; what an unknown layer touches has to stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge.workshop.channel_kinds import Kind

    Lanes = NDArray[np.int64]
    """The number of each channel along a tensor's last axis."""
    Gain = NDArray[np.float64]
    """How strong each of them is, by the weights that made it."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A layer with the channels it takes (of its first input) and gives."""

    layer: Any
    kind: Kind
    taken: Lanes
    given: Lanes
    shape: tuple[int | None, ...]
    """Of its output, with the batch."""


@dataclass(slots=True)
class Channels:
    """All channels of a network, by number."""

    traced: dict[int, Traced] = field(default_factory=dict)
    """By the id of the layer, in the order they run."""
    _tied: list[int] = field(default_factory=list)
    _strength: dict[int, float] = field(default_factory=dict)
    _whole: dict[int, str] = field(default_factory=dict)

    def fresh(self, count: int) -> Lanes:
        """Return so many new channels."""
        first = len(self._tied)
        self._tied.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, lane: int) -> int:
        """Return the one that stands for all that are tied to this."""
        while self._tied[lane] != lane:
            self._tied[lane] = self._tied[self._tied[lane]]
            lane = self._tied[lane]
        return lane

    def tie(self, one: Lanes, other: Lanes) -> None:
        """From now on, each of the one stays or goes with its counterpart."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            a, b = self.find(a), self.find(b)  # noqa: PLW2901
            self._tied[max(a, b)] = min(a, b)

    def keep_whole(self, lanes: Lanes, why: str) -> None:
        """None of these can be removed."""
        for lane in np.unique(lanes).tolist():
            self._whole.setdefault(lane, why)

    def read(self, lanes: Lanes, gain: Gain) -> None:
        """A layer reads these channels, so strong each."""
        numbers, of = np.unique(lanes, return_inverse=True)
        share = np.bincount(of, gain) / np.bincount(of)  # after Flatten each stands many times
        for lane, strength in zip(numbers.tolist(), share.tolist(), strict=True):
            self._strength[lane] = self._strength.get(lane, 0.0) + strength

    def strength(self) -> dict[int, float]:
        """Return how strongly tied channels reach their readers, in sum, by who stands for them."""
        found: dict[int, float] = {}
        for lane, strength in self._strength.items():
            root = self.find(lane)
            found[root] = found.get(root, 0.0) + strength
        return found

    def whole(self) -> dict[int, str]:
        """Return which of those that stand for tied channels have to stay, and why."""
        return {self.find(lane): why for lane, why in reversed(self._whole.items())}

    def groups(self) -> list[list[int]]:
        """Return what can be removed, by who stands for it: one group of them is weighed together.

        A group is what a layer makes, with what other layers make that is tied to it; they come in
        the order of these layers. A group of which nothing can be removed is left out.
        """
        whole = self.whole()
        group_of: dict[int, set[int]] = {}
        for each in self.makers():
            merged = set(map(self.find, each.given.tolist()))
            for root in list(merged):
                merged |= group_of.get(root, set())
            group_of |= dict.fromkeys(merged, merged)
        distinct = {id(group): group for group in group_of.values()}.values()
        free = [sorted(group - whole.keys()) for group in distinct]
        return sorted(filter(None, free))

    def makers(self) -> Iterable[Traced]:
        """The layers that make channels of their own."""
        return (each for each in self.traced.values() if each.kind.does == "makes")

    def left_whole(self) -> dict[str, str]:
        """Return the layers that make channels of which none can be removed, and why."""
        whole = self.whole()
        return {
            each.layer.name: whole[self.find(int(each.given[0]))]
            for each in self.makers()
            if all(self.find(lane) in whole for lane in each.given.tolist())
        }
