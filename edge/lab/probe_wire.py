"""What the bench and a probe say to one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.wire import Failed, RecordWire

if TYPE_CHECKING:
    import socket


class Load(NamedTuple):
    """Bench to probe, first: what to load."""

    model: str
    engine: str
    threads: int
    input_size: tuple[int, int] | None
    """Width and height that the model's picture is resized to; None: as the file has it."""
    batch: int
    """Frames to a forward pass."""


class Loaded(NamedTuple):
    """The model is loaded and has run once."""

    inputs: list[str]
    outputs: list[str]
    init_ms: float
    first_invoke_ms: float


class Slice(NamedTuple):
    """Bench to probe: measure for a while, after a warm-up that is not measured."""

    warm_up_ns: int
    warm_up_invokes: int
    """At least so many, however long they take."""
    measure_ns: int
    """It ends with the invoke that reaches this; there is always one."""
    period_ns: int
    """From the start of one invoke to the next; 0: as fast as possible."""


class Samples(NamedTuple):
    """Durations of invokes, one after another."""

    int64_ns: bytes


class SliceEnded(NamedTuple):
    """All samples of the slice were sent."""

    elapsed_ns: int
    warm_up_invokes: int


ProbeRecord = Load | Loaded | Slice | Samples | SliceEnded | Failed


class ProbeWire(RecordWire[ProbeRecord]):
    """One end of the socket between the bench and a probe."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, (Load, Loaded, Slice, Samples, SliceEnded, Failed))
