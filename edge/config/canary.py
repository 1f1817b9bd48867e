"""How a new model is tried on the device's own frames before it is trusted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge.options import Options


class Canary(Options):
    """How a new model is tried on a pipeline's frames: beside the model that serves, then alone."""

    share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Share of the frames that the new model runs as well, in the shadow: after "
        "the result of the model that serves has left.",
    )
    frames: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="Frames that both have to answer before the new model is promoted; 0 "
        "promotes it at once.",
    )
    within_s: float = Field(
        default=3600,
        ge=1,
        le=2_592_000,
        description="Seconds in which so many frames must have come; else it is given up.",
    )
    promote: Literal["auto", "command"] = Field(
        default="auto",
        description="Whether a new model that keeps all limits is promoted by itself (`auto`), "
        "or by the command `promote-model`.",
    )
    min_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Least share of these frames on which both must say the same.",
    )
    max_latency_ratio: float = Field(
        default=1.5,
        ge=0.1,
        le=1000,
        description="How many times as long the new model's forward pass may take as that of the "
        "one that serves, at the median of the same frames. What is less than a hundredth of the "
        "deadline counts for nothing.",
    )
    max_errors: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Frames in the shadow that it may fail to answer.",
    )
    probation_s: float = Field(
        default=600,
        ge=0,
        le=2_592_000,
        description="Seconds that a promoted model is on probation, with the one before it in the "
        "shadow; then it is good. They begin anew with each start of the daemon.",
    )
    max_missed: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="How much larger the share of missed deadlines may be on probation than it was "
        "before: 0.02 is two frames in a hundred.",
    )
    max_starts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How often a worker may be started with a model on probation: reboots, deaths "
        "of the daemon and of its worker together. Then it is taken for a crash loop.",
    )
    same_labels: bool = Field(
        default=True,
        description="Whether the new model must have the labels of the one that serves, in their "
        "order, or, without labels, outputs of the same shapes.",
    )
