"""Messages as lines of JSON on standard output: for a pipe, or to see what would be published."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edge.errors import SinkError
from edge.sinks.base import Messages, Sink, SinkOptions

if TYPE_CHECKING:
    from edge.messages import Message

STDOUT = 1


class StdoutOptions(SinkOptions):
    """Lines of JSON on standard output."""

    type: Literal["stdout"] = Field(description="Lines of JSON on standard output.")
    messages: Messages = Field(default=["predictions"])

    @property
    def place(self) -> str:
        """The one there is."""
        return "standard output"

    def make(self) -> Sink:
        """Return the sink these options describe."""
        return Stdout(self)


class Stdout(Sink):
    """Writes whole lines; what a reader leaves no room for is not written: the daemon waits not."""

    def __init__(self, options: StdoutOptions) -> None:
        self.wanted = frozenset(options.messages)

    def send(self, message: Message) -> None:
        """Write the payload as one line. Raises SinkError when nobody reads on the other end."""
        if not select.select([], [STDOUT], [], 0)[1]:
            raise SinkError("standard output is not being read; what comes meanwhile is lost to it")
        try:
            os.write(STDOUT, message.to_json() + b"\n")
        except OSError as error:
            raise SinkError(f"standard output takes nothing: {error.strerror}") from error
