"""Judges each frame against its deadline, and says which stage spent the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY = 1 / 32  # weight of the newest frame in what is usual


class DeadlineMonitor:
    """Knows what each stage usually takes, from the frames that were in time.

    A miss is blamed on the stage that took the most over its usual time: a slow model is
    not blamed for what a late camera spent.
    """

    def __init__(self, deadline_ms: float) -> None:
        self._deadline_ns = deadline_ms * 1e6
        self._usual_ns: dict[str, float] = {}

    def blame(self, stages_ns: Mapping[str, int], *, learn: bool = True) -> str | None:
        """Return the stage that made the frame miss its deadline, None when it was met.

        `stages_ns` holds the nanoseconds of each stage the frame went through; `learn` says
        whether it counts towards what is usual.
        """
        if sum(stages_ns.values()) <= self._deadline_ns:
            for stage, spent_ns in stages_ns.items() if learn else ():
                usual_ns = self._usual_ns.setdefault(stage, spent_ns)
                self._usual_ns[stage] = usual_ns + (spent_ns - usual_ns) * MEMORY
            return None
        return max(stages_ns, key=lambda stage: stages_ns[stage] - self.usual_ns(stage))

    def usual_ns(self, stage: str) -> float:
        """Return what a stage usually takes; 0 while no frame was in time."""
        return self._usual_ns.get(stage, 0.0)
