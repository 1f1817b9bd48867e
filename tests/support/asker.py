"""Asks a cache as the loop does, and notes what it would have had to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.config.pipeline import Pipeline
from edge.worker.cache import Kept, ResultCache

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MS = 1_000_000
START_NS = 42_000 * MS


def a_pipeline(model: Path, *, decode: str = "classification", **cache: Any) -> Pipeline:
    """Return the options of a pipeline with this cache, whose late frames are run."""
    return Pipeline.model_validate(
        {
            "source": {"type": "synthetic"},
            "model": {"path": model},
            "decode": {"type": decode},
            "on_late": "run",
            "cache": cache,
        }
    )


class Asker:
    """Asks a cache as the loop does; a result is the number of the frame it was made for."""

    def __init__(self, cache: ResultCache | None) -> None:
        assert cache is not None
        self.cache = cache
        self.frame = -1
        self.ran: list[int] = []

    def __call__(self, tensor: NDArray[Any], at_ms: float = 0) -> int:
        """Return the number of the frame whose result answers this one."""
        self.frame += 1
        captured_ns = START_NS + round(at_ms * MS)
        hit = self.cache.find(tensor, captured_ns)
        if hit is not None:
            assert hit.age_ns == captured_ns - hit.kept.captured_ns
            assert hit.kept.predictions == [{"frame": hit.kept.frame}]
            return hit.kept.frame
        self.ran.append(self.frame)
        self.cache.keep(self.cache.asked, Kept(self.frame, captured_ns, [{"frame": self.frame}]))
        return self.frame
