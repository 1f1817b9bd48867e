"""What a sink is: options from the YAML, and an object that takes messages."""

from __future__ import annotations

import abc
import stat
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edge.errors import SinkError
from edge.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from edge.messages import Message

Messages = Annotated[
    list[Literal["predictions", "metrics", "health", "events", "info"]],
    Field(min_length=1, description="Which messages, by the last level of their topic."),
]


class SinkOptions(Options, abc.ABC):
    """What all sinks beside the broker have in common; each says its own `type`."""

    type: str = Field(description="Kind of sink.")

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Where it all goes, in a person's words; no two sinks of a device have the same."""

    def verify(self) -> None:
        """Check what can be known before the start, for `edge check`.

        Raises SinkError for what is certainly wrong; whether it may write there only the
        daemon's own user can know.
        """

    @abc.abstractmethod
    def make(self) -> Sink:
        """Return the sink these options describe."""


class Sink(abc.ABC):
    """Takes what the daemon says, in the supervisor's own thread, which it never keeps waiting."""

    wanted: frozenset[str]
    """Which messages, by the last level of their topic; no others are sent to it."""

    def start(self) -> None:  # noqa: B027  most sinks begin with the first message
        """Begin, in the event loop. Raises SinkError when that fails; `send` tries it again."""

    @abc.abstractmethod
    def send(self, message: Message) -> None:
        """Hand a wanted message on. Raises SinkError when that cannot be done now."""

    def close(self) -> None:  # noqa: B027  most sinks hold nothing
        """Let go of what it holds; nothing is sent afterwards."""


def verify_file(path: Path) -> None:
    """Check that a file may come to be there. Raises SinkError."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise SinkError(f"{path.parent}: there is no such folder") from None
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error
    else:
        if not stat.S_ISREG(mode):
            raise SinkError(f"{path}: is no regular file")
