"""How a worker shares the processor with everything else on the device."""

from typing import Annotated, Literal

from pydantic import Field

from edge.options import Options

Core = Annotated[int, Field(ge=0, le=1023)]


class Cpu(Options):
    """The worker's place among the processes of the device."""

    affinity: Annotated[list[Core], Field(min_length=1)] | None = Field(
        default=None, description="Cores the worker may use, by number; all if not given."
    )
    scheduling: Literal["other", "fifo"] = Field(
        default="other",
        description="`other` shares the cores fairly; `fifo` goes before every process that is "
        "not real-time as well, and needs the right to (root, or LimitRTPRIO= in the unit).",
    )
    priority: int = Field(
        default=10, ge=1, le=99, description="Real-time priority, for `scheduling: fifo`."
    )
    nice: int = Field(
        default=0,
        ge=-20,
        le=19,
        description="Share of the cores, for `scheduling: other`; below 0 is more than others "
        "get, and needs the right to (root, or LimitNICE= in the unit).",
    )
