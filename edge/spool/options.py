"""What bounds the spool."""

from typing import Literal

from pydantic import Field

from edge.options import Options


class SpoolOptions(Options):
    """What is kept on disk while the broker is away, in the state directory."""

    max_bytes: int = Field(
        default=64_000_000,
        ge=100_000,
        le=1_000_000_000_000,
        description="How much may wait on disk, roughly; past that messages are given up and "
        "counted.",
    )
    max_age_s: float = Field(
        default=604_800,
        ge=60,
        le=315_360_000,
        description="How long a message may wait, in seconds; older ones are given up and counted.",
    )
    keep: Literal["newest", "best"] = Field(
        default="newest",
        description="What is kept when not all can be: `newest` gives up the oldest first, `best` "
        "the results whose best score is the lowest.",
    )
