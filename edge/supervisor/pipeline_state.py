"""A pipeline's state for those who keep all they hear: told when it changes, and not too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.states import Top

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.config.home_assistant import HomeAssistant, Occupancy
    from edge.config.pipeline import Pipeline

LONGEST_STATE = 255  # characters; Home Assistant refuses more
NOTHING = Top(label=None, score=None)


class Figures(NamedTuple):
    """What the last metrics said."""

    p99_ms: float | None = None
    fps: float | None = None
    deadline_misses_total: int | None = None


@dataclass(slots=True)
class _Seen:
    """The newest result of a source."""

    top: Top = NOTHING
    until_s: float = 0
    """When it is too old to be told; monotonic, as all times here."""


class PipelineState:
    """What is seen and measured now, and when that has to be told; asks no clock."""

    def __init__(
        self, pipeline: Pipeline, options: HomeAssistant, watched: list[Occupancy]
    ) -> None:
        """Nothing has been seen; `watched` are the labels of this pipeline to watch for."""
        self._made_from = (pipeline, options, watched)
        self._pipeline, self._options, self._watched = self._made_from
        self.figures = Figures()
        self._newest = Figures()
        self._sources = {name: _Seen() for name in pipeline.all_sources}
        self._occupied_until_s: dict[str, float] = {}
        self._said: Any = None
        self._said_s = self._regular_s = float("-inf")

    def is_about_the_same(self, other: PipelineState) -> bool:
        """Whether the other was made from the same options."""
        return self._made_from == other._made_from

    def answered(
        self, source: str, predictions: Iterable[Mapping[str, Any]], *, now_s: float
    ) -> None:
        """Take in a result."""
        found = [each for each in predictions if each.get("label") is not None]
        seen = self._sources[source]
        seen.until_s = now_s + self._lasts_s(source)
        seen.top = NOTHING
        if found:
            label, score = str(found[0]["label"]), found[0].get("score")
            seen.top = Top(label=label[:LONGEST_STATE], score=score)
        for each in self._watched:
            if any(
                str(one["label"]) == each.label and (one.get("score") or 0) >= each.min_score
                for one in found
            ):
                self._occupied_until_s[each.label] = now_s + each.off_delay_s

    def measured(self, figures: Figures) -> None:
        """Take in figures; they are told with the next regular state."""
        self._newest = figures

    def tops(self, now_s: float) -> dict[str, Top]:
        """Return the best prediction of each source, where it is not too old."""
        return {
            name: seen.top if now_s < seen.until_s else NOTHING
            for name, seen in self._sources.items()
        }

    def occupied(self, now_s: float) -> dict[str, bool]:
        """Return for each watched label whether it was seen of late."""
        return {
            each.label: now_s < self._occupied_until_s.get(each.label, 0) for each in self._watched
        }

    def due_s(self, state: str, *, now_s: float) -> float:
        """Return when the next state has to be published; at or before `now_s` is now."""
        earliest_s = self._said_s + self._options.min_interval_s
        if self._content(state, now_s) != self._said:
            return earliest_s
        changes = [*self._occupied_until_s.values()]
        changes += [seen.until_s for seen in self._sources.values()]
        regular_s = self._regular_s + self._options.interval_s
        next_s = min([regular_s, *(change_s for change_s in changes if change_s > now_s)])
        return max(earliest_s, next_s)

    def told(self, state: str, *, now_s: float) -> None:
        """Hear that the state is published now; figures are renewed when their time has come."""
        self._said, self._said_s = self._content(state, now_s), now_s
        if now_s >= self._regular_s + self._options.interval_s:
            self.figures, self._regular_s = self._newest, now_s

    def _content(self, state: str, now_s: float) -> tuple[Any, ...]:
        """What of it is told as soon as it changes."""
        labels = [top.label for top in self.tops(now_s).values()]
        return state, labels, self.occupied(now_s)

    def _lasts_s(self, source: str) -> float:
        """For how long a result holds when no other comes: for three frames of a slow source."""
        rate = self._pipeline.all_sources[source].rate
        frames_s = 3 * self._pipeline.every / rate if rate else 0
        return max(self._options.interval_s, frames_s)
