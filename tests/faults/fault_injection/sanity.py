"""What no healthy daemon says, whatever befalls it: absurd figures, and words of loss."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = frozenset(
    {"messages_dropped", "spool_set_aside", "steering_lost", "pipeline_failed", "source_ended"}
    | {"twin_found", "rung_changed", "rung_refused", "ladder_exhausted", "accelerator_lost"}
)
"""Events that none of the faults is a reason for."""
LONGEST_LATENCY_MS = 10_000  # from capture to result: who takes longer is killed
LONGEST_AWAY_MS = 120_000  # until the acknowledgement: the longest outage, and what waits then
RATE = 10  # frames a second of each pipeline
MOST_FPS = 3 * RATE
AROUND_S = 1.0
PERCENTILES = ("p50", "p90", "p95", "p99", "max")


class Clock:
    """How wrong the daemon's wall clock is now, and was."""

    def __init__(self) -> None:
        self.began_s = time.time()
        self.shifts_s = [0.0]

    def set(self, shift_s: float) -> None:
        """Hear that it is wrong by so much from now on."""
        self.shifts_s = [shift_s, *(each for each in self.shifts_s if each != shift_s)]

    def true_s(self, said: str) -> float:
        """Return a moment as the harness's clock has it. Raises ValueError where it cannot be."""
        moment = datetime.fromisoformat(said.replace("Z", "+00:00"))
        said_s = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
        for shift_s in self.shifts_s:
            if self.began_s - AROUND_S <= said_s - shift_s <= time.time() + AROUND_S:
                return said_s - shift_s
        raise ValueError(f"the moment {said} is not within this run")

    @property
    def running_s(self) -> float:
        """How long it has been going on."""
        return time.time() - self.began_s


def absurdities(kind: str, said: dict[str, Any], clock: Clock) -> Iterator[str]:
    """Yield what is wrong with a message's figures."""
    if kind == "predictions":
        clock.true_s(said["captured_at"])
        yield from _latency(said["latency_ms"])
        if not said["predictions"]:
            yield "no prediction"
    elif "at" in said:
        clock.true_s(said["at"])
    if kind == "metrics":
        yield from _metrics(said, clock)


def _latency(latency: dict[str, float]) -> Iterator[str]:
    for stage, spent_ms in latency.items():
        if not 0 <= spent_ms <= LONGEST_LATENCY_MS:
            yield f"{stage} of {spent_ms} ms"
    stages = sum(spent_ms for stage, spent_ms in latency.items() if stage != "total")
    if abs(stages - latency["total"]) > 0.01 * len(latency):
        yield f"stages that sum up to {stages} ms"


def _metrics(said: dict[str, Any], clock: Clock) -> Iterator[str]:
    for name in ("latency_ms", "latency_recent_ms", "latency_total_ms"):
        yield from _percentiles(name, said[name], LONGEST_LATENCY_MS)
    for name, stage in said["stages_ms"].items():
        yield from _percentiles(name, stage, LONGEST_LATENCY_MS)
    yield from _percentiles("acknowledged_ms", said["acknowledged_ms"], LONGEST_AWAY_MS)
    if not 0 <= said["fps"] <= MOST_FPS:
        yield f"{said['fps']} frames a second"
    if not 0 <= said["window_s"] <= clock.running_s + AROUND_S:
        yield f"a window of {said['window_s']} s"
    most = MOST_FPS * (clock.running_s + AROUND_S)
    counts = {key: said[key] for key in said if key.endswith("_total") or key == "waiting"}
    counts |= {f"dropped, {key}": count for key, count in said["dropped_total"].items()}
    for what, count in counts.items():
        if isinstance(count, int) and not 0 <= count <= most:
            yield f"{what}: {count}"
    if said["undelivered_total"]:
        yield f"undelivered_total: {said['undelivered_total']}"


def _percentiles(name: str, found: dict[str, Any], most_ms: float) -> Iterator[str]:
    known = [found[key] for key in PERCENTILES if found[key] is not None]
    if known != sorted(known):
        yield f"{name}: percentiles that fall"
    if any(not 0 <= each <= most_ms for each in known):
        yield f"{name}: {known} ms"
    if found["count"] < 0 or (found["count"] == 0 and known):
        yield f"{name}: figures of {found['count']} frames"
