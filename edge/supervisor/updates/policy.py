"""When a new model is promoted, when it is good, when it is taken back: rules, nothing else.

No clock, no file and no pipeline is known here; who calls says what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from edge.config.canary import Canary


MATTERS = 0.01  # of the deadline


@dataclass(frozen=True, slots=True)
class Beside:
    """What two models said of the same frames."""

    frames: int = 0
    """That both have answered."""
    agreed: int = 0
    """Of these."""
    failed: int = 0
    """Frames that the one in the shadow could not answer."""
    failure: str = ""
    """Why, of the newest such frame."""
    inference_ms: float | None = None
    """Median of the one in the shadow; None where it is not known."""
    serving_inference_ms: float | None = None
    """Of the one that serves, on the same frames."""

    @property
    def agreement(self) -> float | None:
        """Share of the frames on which they say the same; None before the first."""
        return self.agreed / self.frames if self.frames else None

    @property
    def latency_ratio(self) -> float | None:
        """How many times as long the one in the shadow takes; None where it is not known."""
        if self.inference_ms is None or not self.serving_inference_ms:
            return None
        return self.inference_ms / self.serving_inference_ms

    def slower_by_ms(self) -> float:
        """How much longer the one in the shadow takes; 0 where that is not known."""
        return (self.inference_ms or 0) - (self.serving_inference_ms or 0)

    @property
    def evidence(self) -> dict[str, Any]:
        """All of it, as it stands in an event."""
        return {
            "frames": self.frames,
            "agreement": _rounded(self.agreement),
            "failed": self.failed,
            "inference_ms": self.inference_ms,
            "serving_inference_ms": self.serving_inference_ms,
            "latency_ratio": _rounded(self.latency_ratio),
        }


@dataclass(frozen=True, slots=True)
class Missed:
    """Frames that were judged by their deadline, and those of them that missed it."""

    frames: int = 0
    missed: int = 0

    @property
    def share(self) -> float:
        """Share of the frames; 0 before the first."""
        return self.missed / self.frames if self.frames else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why."""

    what: Literal["wait", "on", "back"]
    """`on` is a step further: promoted from the shadow, good from probation."""
    why: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


def of_shadow(limits: Canary, seen: Beside, *, seconds: float, deadline_ms: float) -> Verdict:
    """Judge a model in the shadow, `seconds` after it began there.

    That it is slower counts from a hundredth of the deadline on: medians of microseconds differ
    by chance.
    """
    if why := _disagrees(limits, seen):
        return Verdict("back", why, seen.evidence)
    if seen.failed > limits.max_errors:
        limit = f"`max_errors: {limits.max_errors}`"
        why = f"it could not answer {seen.failed} frames ({limit}): {seen.failure}"
        return Verdict("back", why, seen.evidence)
    if seen.frames >= limits.frames:
        ratio, matters = seen.latency_ratio, seen.slower_by_ms() > MATTERS * deadline_ms
        if ratio is not None and ratio > limits.max_latency_ratio and matters:
            why = (
                f"its forward pass takes {seen.inference_ms:g} ms, {ratio:.2f} times as long as "
                f"that of the model that serves "
                f"(`max_latency_ratio: {limits.max_latency_ratio:g}`)"
            )
            return Verdict("back", why, seen.evidence)
        kept = f"it kept all limits over {seen.frames} frames"
        return Verdict("on", kept if limits.frames else "at once (`frames: 0`)", seen.evidence)
    if seconds > limits.within_s:
        why = (
            f"only {seen.frames} of {limits.frames} frames were run beside in {seconds:.0f} s "
            f"(`within_s: {limits.within_s:g}`)"
        )
        return Verdict("back", why, seen.evidence)
    return Verdict("wait", evidence=seen.evidence)


def of_probation(
    limits: Canary, *, before: Missed, now: Missed, beside: Beside, seconds: float
) -> Verdict:
    """Judge a promoted model; in `beside` it is the former one that runs in the shadow.

    A share over few frames is chance: fewer than `canary.frames` are judged as if they were so
    many, the others in time.
    """
    evidence = {
        "missed": now.missed,
        "judged": now.frames,
        "missed_share": _rounded(now.share),
        "missed_share_before": _rounded(before.share),
        "agreement": _rounded(beside.agreement),
        "frames": beside.frames,
    }
    share = now.missed / max(now.frames, limits.frames, 1)
    if share > before.share + limits.max_missed:
        why = (
            f"{now.missed} of {now.frames} frames missed the deadline, {before.missed} of "
            f"{before.frames} before it (`max_missed: {limits.max_missed:g}`)"
        )
        return Verdict("back", why, evidence)
    if why := _disagrees(limits, beside):
        return Verdict("back", why, evidence)
    if seconds >= limits.probation_s and now.frames >= limits.frames:
        late = f"{now.missed} of the last {now.frames} frames missed the deadline"
        why = f"{seconds:.3g} s on probation, and {late}"
        return Verdict("on", why, evidence)
    return Verdict("wait", evidence=evidence)


def is_crash_loop(limits: Canary, starts: int) -> bool:
    """Whether a model on probation was started so often that it gets no start more."""
    return starts >= limits.max_starts


def _disagrees(limits: Canary, seen: Beside) -> str:
    """Say why the models agree too little; nothing while they still may agree enough.

    It is early where no agreement on the frames to come could mend it.
    """
    differing, frames = seen.frames - seen.agreed, max(seen.frames, limits.frames)
    if not differing or (frames - differing) / frames >= limits.min_agreement:
        return ""
    return (
        f"the models say the same of {seen.agreed} of {seen.frames} frames only "
        f"(`min_agreement: {limits.min_agreement:g}`)"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
