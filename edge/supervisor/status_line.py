"""What `systemctl status` shows of us: one line for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.supervisor.notify import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.messages import Metrics
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.update_info import UpdateInfo

MOST_PROBLEMS = 3


class StatusLine:
    """How the pipelines do, and whether the broker has their results."""

    def __init__(
        self,
        pipelines: Mapping[str, SupervisedPipeline],
        update_of: Callable[[str], UpdateInfo | None],
    ) -> None:
        """`update_of` tells of a pipeline's updates."""
        self._pipelines = pipelines
        self._update_of = update_of
        self.measured: dict[str, Metrics] = {}
        """The newest figures of each pipeline."""
        self.refused = ""
        """Why the YAML was not taken at the last reload; empty where it was."""

    def tell(self, outlet: Outlet, *assignments: str) -> None:
        """Send it to systemd, after other assignments."""
        notify(*assignments, f"STATUS={self.text(outlet)}")

    def text(self, outlet: Outlet) -> str:
        """Return the line."""
        parts = [", ".join(map(self._of, self._pipelines.values()))]
        if outlet.connected:
            parts.append(f"connected to {outlet.address}")
        else:
            waiting = f", results and events kept: {outlet.waiting}" if outlet.waiting else ""
            parts.append(f"waiting for {outlet.address}{waiting}")
        if self.refused:
            parts.append(f"the new configuration is not in force: {in_one_line(self.refused)}")
        return "; ".join(parts)

    def _of(self, pipeline: SupervisedPipeline) -> str:
        failure = pipeline.keeper.failure
        if failure is not None and pipeline.state in {"failed", "stopped"}:
            return f"{pipeline.name} failed ({in_one_line(failure.message)})"
        measured = self.measured.get(pipeline.name)
        standing = f"{pipeline.name} {pipeline.standing}{self._over_the_air(pipeline.name)}"
        if pipeline.state != "running" or measured is None or not measured.frames:
            return standing
        figures = [f"{measured.fps:.3g} frames/s"]
        if (p99 := measured.latency_recent_ms.p99) is not None:
            figures.append(f"P99 {p99:.3g} of {measured.deadline_ms:g} ms")
        if measured.deadline_misses:
            figures.append(f"{measured.deadline_misses} late")
        return f"{standing} ({', '.join(figures)})"

    def _over_the_air(self, name: str) -> str:
        """Say which model serves, where one that came over the air does."""
        update = self._update_of(name)
        if update is None or update.serving is None:
            return ""
        on_probation = ", on probation" if update.phase == "probation" else ""
        return f" with {update.serving.name} {update.serving.version}{on_probation}"


def in_one_line(problems: str) -> str:
    """Return a message of several lines as one: the first of them, and how many more there are."""
    lines = problems.splitlines()
    more = [f"and {len(lines) - MOST_PROBLEMS} more"] if len(lines) > MOST_PROBLEMS else []
    return "; ".join([*lines[:MOST_PROBLEMS], *more])
