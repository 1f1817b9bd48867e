"""What a sink is: options from the YAML, and an object that takes messages."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from pydantic import Field

from edge.options import Options

if TYPE_CHECKING:
    from edge.messages import Message


class SinkOptions(Options, abc.ABC):
    """What all sinks beside the broker have in common; each says its own `type`."""

    type: str = Field(description="Kind of sink.")

    @abc.abstractmethod
    def make(self) -> Sink:
        """Return the sink these options describe."""


class Sink(abc.ABC):
    """Takes all that the daemon says, in the supervisor's own thread."""

    @abc.abstractmethod
    def send(self, message: Message) -> None:
        """Hand a message on. Raises SinkError when that cannot be done now."""

    def close(self) -> None:  # noqa: B027  most sinks hold nothing
        """Let go of what it holds; nothing is sent afterwards."""
