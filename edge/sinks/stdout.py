"""Messages as lines of JSON on standard output: for a pipe, or to see what would be published."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edge.errors import SinkError
from edge.sinks.base import Messages, Sink, SinkOptions

if TYPE_CHECKING:
    from edge.messages import Message

STDOUT = 1
MOST_WAITING = 100  # lines
GOODBYE_S = 1.0


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
    """Writes whole lines in a thread of its own: whoever reads them may be slow, or not read.

    No flag of the pipe would do instead: it is shared with the shell, and with other processes.
    """

    def __init__(self, options: StdoutOptions) -> None:
        self.wanted = frozenset(options.messages)
        self._lines: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._trouble: str | None = None
        self._writer = threading.Thread(target=self._write, name="stdout", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def send(self, message: Message) -> None:
        """Write the payload as one line, soon.

        Raises SinkError when too much waits for a reader, or what came before was not taken.
        """
        try:
            self._lines.put_nowait(message.to_json() + b"\n")
        except queue.Full:
            raise SinkError(
                "standard output is not being read; what comes meanwhile is lost to it"
            ) from None
        if self._trouble is not None:
            raise SinkError(f"standard output takes nothing: {self._trouble}")

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(STDOUT, line) :]
                self._trouble = None
            except OSError as error:
                self._trouble = error.strerror

    def close(self) -> None:
        """Write what waits, if somebody reads it now."""
        try:
            self._lines.put(None, timeout=GOODBYE_S)
        except queue.Full:
            return  # the thread is left in its write, and ends with the process
        self._writer.join(GOODBYE_S)
