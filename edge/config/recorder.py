"""The flight recorder's traces: how many are kept, how often one is written."""

from pydantic import Field

from edge.options import Options


class Recorder(Options):
    """What becomes of the flight recorder's traces; recording itself is always on."""

    keep: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Traces kept in the state directory; the oldest make room. 0 writes none.",
    )
    max_mb: float = Field(
        default=20,
        ge=1,
        le=100_000,
        description="Megabytes that all traces may take together; one has some 0.1.",
    )
    min_interval_s: float = Field(
        default=60,
        ge=1,
        le=86_400,
        description="A pipeline writes at most one trace of a deadline miss in so many seconds, "
        "and one of a worker's death; the first at once.",
    )
