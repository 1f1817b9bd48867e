"""The aims this project has set itself against its peers, each with its value and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.turn import Ratio, Turn

SMALL, LARGE = "mobilenet_v1_0.25_128", "mobilenet_v2_1.0_224"
AS_MANY = 0.99  # at a pace nobody can have more frames than there are; one more or less in a turn


@dataclass(frozen=True)
class Aim:
    """A ratio of ours to a peer's, and the number it should keep to."""

    what: str
    peer: str
    of: Callable[[Turn], float | None]
    limit: float | None
    """None where nothing is aimed at for this model: the ratio is told all the same."""
    at_least: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return "none" if self.limit is None else f"{sign} {self.limit:g}"

    def verdict(self, value: Ratio) -> str:
        """Say `met` or `missed`, and whether some turn says otherwise; nothing without an aim."""
        if self.limit is None:
            return ""
        met = self._keeps(value.median)
        agreed = self._keeps(value.low) == self._keeps(value.high) == met
        return ("met" if met else "missed") + ("" if agreed else ", not in every turn")

    def _keeps(self, value: float) -> bool:
        assert self.limit is not None
        return value >= self.limit if self.at_least else value <= self.limit


def aims(model: str, feed: str, *, paced: bool) -> list[Aim]:
    """Return the aims of a table. Those against the bare loop are for frames in memory."""
    small, large = model.startswith(SMALL), model.startswith(LARGE)

    def by_model(for_small: float, for_large: float) -> float | None:
        return for_small if small else for_large if large else None

    def in_memory(limit: float | None) -> float | None:
        return limit if feed == "memory" else None

    bare = (
        [
            Aim("P50, capture to result", "bare", _p50, in_memory(by_model(1.30, 1.05))),
            Aim("P99/P50", "bare", _tail, in_memory(1.15)),
        ]
        if paced
        else [
            Aim("throughput", "bare", _fps, in_memory(by_model(0.95, 0.985)), at_least=True),
            Aim("CPU time a frame", "bare", _cpu, in_memory(1.1)),
        ]
    )
    return [
        *bare,
        Aim("P50", "naive", _p50, 1),
        Aim("throughput", "naive", _fps, AS_MANY if paced else 1, at_least=True),
        Aim("CPU time a frame", "naive", _cpu, 1),
        Aim("start to first prediction", "naive", _first, 1.5),
        Aim("P50", "mediapipe", _p50, by_model(0.45, 0.80)),
    ]


def _p50(turn: Turn) -> float | None:
    return turn.p50_us


def _tail(turn: Turn) -> float | None:
    return turn.tail


def _fps(turn: Turn) -> float | None:
    return turn.throughput


def _cpu(turn: Turn) -> float | None:
    return turn.cpu_us


def _first(turn: Turn) -> float | None:
    return turn.first_s
