"""What a source is: options from the YAML, and an object that delivers frames."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from edge.options import Options

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.mqtt.access import Access


@dataclass(frozen=True, slots=True)
class Grabbed:
    """A frame that was taken but not yet decoded."""

    number: int
    """The source's frame number; it has gaps where frames were lost."""
    captured_ns: int
    """Capture time, monotonic nanoseconds."""
    name: str = ""
    """What a person would call it: a file's path; empty where there is nothing to say."""
    truth: str | None = None
    """The true label, where the source was asked to know it."""
    asked: tuple[str, str | None, bytes | None, str | None] | None = None
    """What a message from a broker says beside the frame, see `edge.wire.Done`."""
    digest: bytes | None = None
    """Of the message, where the broker gives it to the next worker if this one dies."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source may have to know that is not in its own options."""

    broker: Access | None = None
    """The device's broker; None where there is no daemon."""
    left_out: tuple[bytes, ...] = ()
    """Digests of frames that are not to be run, once each."""
    careful: bool = False
    """Whether frames are to be taken one by one."""
    owner: str = ""
    """Names the pipeline among all of all devices, for what a broker keeps for it."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What is the model's input already, and no picture however it looks."""

    data: NDArray[Any] | bytes
    """An array of its shape and type, or its raw bytes in the machine's own order."""


class SourceOptions(Options, abc.ABC):
    """What all sources have in common; each says its own `type`."""

    type: str = Field(description="Kind of source.")
    deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = Field(
        default=None, description="Deadline of its frames, where it is not the pipeline's."
    )

    @property
    def live(self) -> bool:
        """Whether it has a rate of its own, so that the newest frame wins."""
        return True

    @property
    def rate(self) -> float | None:
        """Frames a second that fall due by its own clock; None where nobody can say."""
        return None

    @property
    def from_broker(self) -> bool:
        """Whether its frames come from the device's broker."""
        return False

    @property
    def awaits_acceptance(self) -> bool:
        """Whether it has to hear which of its frames are settled; see `Source.accepted`."""
        return False

    @property
    def begins_anew(self) -> bool:
        """Whether it gives the same frames again, from the first, when it is made again."""
        return not self.live

    def verify(self) -> None:
        """Check what can be known before the start, for `edge check`.

        Raises SourceError for what is certainly wrong; a camera that is not there may come.
        """

    @abc.abstractmethod
    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""


def whole(width: int, height: int) -> int:  # noqa: ARG001
    """The reduction, and the scaling, of a frame that is wanted in full."""
    return 1


class Source(abc.ABC):
    """Delivers frames, one call of `grab` and at most one of `retrieve` for each.

    It is used by one thread at a time. `open` may be called again after `close`, when a source that
    went away is tried anew: frame numbers go on from where they were.
    """

    lost = 0
    """Frames that were due by the source's own clock and that nobody could take, in all."""
    size: tuple[int, int] | None = None
    """Width and height, in full, of the frame retrieved last, where it was made smaller."""
    reduction: Callable[[int, int], int] = staticmethod(whole)
    """For a frame of that width and height: the 1, 2, 4 or 8 by which it may be decoded smaller."""
    scaling: Callable[[int, int], float] = staticmethod(whole)
    """For such a frame: by how much a good scaler may scale it; 1 is not at all."""

    def place(self, surroundings: Surroundings) -> None:  # noqa: B027  few need to know
        """Hear where it is at work; before `open`."""

    def accepted(self, number: int) -> None:  # noqa: B027  few need to know
        """Hear, from any thread, that a frame's result is recorded, or that it will have none."""

    def make_smaller(
        self, reduction: Callable[[int, int], int], scaling: Callable[[int, int], float]
    ) -> None:
        """From the next frame on, make them smaller by what these say of their size."""
        self.reduction, self.scaling = reduction, scaling

    @abc.abstractmethod
    def open(self) -> None:
        """Begin. Raises SourceError, saying what is missing and what to do."""

    @abc.abstractmethod
    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait for the next frame and take it; None at the end, or when `stop` was set.

        Raises SourceError when the source went away.
        """

    @abc.abstractmethod
    def retrieve(self) -> NDArray[Any] | ModelInput:
        """Decode the frame grabbed last.

        Returns pixels (uint8, height x width x 3, BGR), or what is the model's input already.
        The memory is the source's and is written again by the next call. Raises FrameError
        when just this frame is bad.
        """

    def due_ns(self) -> int | None:
        """When the next `grab` will have a frame, in monotonic ns; None where nobody can say."""
        return None

    def close(self) -> None:  # noqa: B027  most sources hold nothing
        """Let go of what `open` took; harmless when there is nothing."""
