"""Whether results are reused for an input seen before, and how alike and how old it may be."""

from typing import Any, Literal

from pydantic import Field, field_validator

from edge.options import Options


class Cache(Options):
    """Reuse of the results of an input seen before; models that keep state are refused."""

    mode: Literal["off", "exact", "similar"] = Field(
        default="off",
        description="`exact` reuses the result of the very same input, `similar` that of a "
        "picture that looks the same (a camera on a still scene), `off` runs every frame.",
    )
    size: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="How many results are kept; the one not used for longest makes room. "
        "`exact` keeps their inputs too, byte by byte.",
    )
    max_age_ms: float = Field(
        default=1000,
        gt=0,
        le=86_400_000,
        description="A result is reused for so many milliseconds, from the capture of the frame "
        "it was made of to the capture of the frame it answers; reuse does not make it younger.",
    )
    similarity: float = Field(
        default=0.98,
        ge=0.5,
        le=1,
        description="`similar` only: how alike two pictures must be. Each is averaged to 32x32 "
        "cells; 1 is no difference, and 0.98 lets no colour of any cell differ by more than "
        "0.02 of its range, which is 5 of 255 levels.",
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        # What a program that reads YAML 1.1 makes of a bare `off` when it writes the file.
        return "off" if value is False else value
