"""Which commands the device obeys, and within which limits."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from edge.commands import REQUESTS, CommandName
from edge.options import Options

LARGEST_PICTURE_KB = 128


class Commands(Options):
    """Which commands the device obeys, and within which limits."""

    allow: list[CommandName] | Literal["all"] = Field(
        default=[],
        description="Commands that are obeyed when they come over MQTT, by name, or `all`; none "
        "unless they stand here. Who may publish to the broker can send them.",
    )
    min_deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] = Field(
        default=1, description="Shortest deadline that `set` accepts."
    )
    max_deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] = Field(
        default=60_000, description="Longest deadline that `set` accepts."
    )
    min_threshold: float = Field(default=0, description="Lowest threshold that `set` accepts.")
    max_threshold: float = Field(default=1, description="Highest threshold that `set` accepts.")
    per_second: float = Field(
        default=5,
        ge=0.1,
        le=100,
        description="Commands a second, over a longer time, that are looked at; the rest goes "
        "unanswered and is counted.",
    )
    snapshot_kb: int = Field(
        default=LARGEST_PICTURE_KB,
        ge=8,
        le=LARGEST_PICTURE_KB,
        description="Kilobytes that a snapshot may have at most.",
    )

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        for what in ("deadline_ms", "threshold"):
            if getattr(self, f"min_{what}") > getattr(self, f"max_{what}"):
                raise ValueError(f"`min_{what}` must not be above `max_{what}`")
        return self

    @property
    def allowed(self) -> tuple[CommandName, ...]:
        """The commands that are obeyed."""
        every = tuple(kind.command for kind in REQUESTS.values())
        return every if self.allow == "all" else tuple(c for c in every if c in self.allow)
