"""The system under test: our loop in a process of its own, its frames asked for over a socket.

All that touches the loop's classes stands here; it is put together as `edge.worker.main` does.
Started as `python -m witness.pipeline QUERIES_FD RESULTS_FD PICTURES OPTIONS`.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from peers.frames import crops

from edge.config.pipeline import Pipeline
from edge.errors import EdgeError
from edge.sources.base import Grabbed, Source, SourceOptions
from edge.wire import Wire
from edge.worker.line import Line
from edge.worker.loop import Loop
from edge.worker.prepare import prepare, quiet_python

if TYPE_CHECKING:
    import threading

QUERY = struct.Struct("=QQQ")
"""What is asked: the query's id, the number of its picture, when it was issued (monotonic ns)."""
LOOK_AT_STOP_S = 0.5


class QueriesOptions(SourceOptions):
    """A pulled source: pictures in memory, the next of them named by a query."""

    type: Literal["queries"] = "queries"
    pictures: list[Any]
    queries: Any

    @property
    def live(self) -> bool:
        """It waits, and every query is answered."""
        return False

    def make(self) -> Source:
        """Return the source."""
        return Queries(self.pictures, self.queries)


class Queries(Source):
    """Takes queries from a socket; a frame's capture time is when its query was issued."""

    def __init__(self, pictures: list[Any], queries: socket.socket) -> None:
        self._pictures = pictures
        self._queries = queries
        self._picture = 0
        self._number = -1

    def open(self) -> None:
        """Nothing is to be opened."""

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait for the next query."""
        while not select.select([self._queries], [], [], LOOK_AT_STOP_S)[0]:
            if stop.is_set():
                return None
        packet = self._queries.recv(QUERY.size)
        if not packet:
            return None
        query, self._picture, issued_ns = QUERY.unpack(packet)
        self._number += 1
        return Grabbed(self._number, issued_ns, str(query))

    def retrieve(self) -> Any:
        """Return the query's picture."""
        return self._pictures[self._picture % len(self._pictures)]


def main() -> None:
    """Answer queries until there are no more."""
    queries, results = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    line = Line(Wire(results))
    line.may_wait = True  # as for every pulled source: none of its results is lost
    options = Pipeline.model_validate_json(sys.argv[4])
    source = QueriesOptions(pictures=crops(Path(sys.argv[3])), queries=queries)
    options = options.model_copy(update={"source": source})
    prepared = prepare(options)
    loop = Loop(options, prepared, line.tell)
    line.tell(prepared.ready)
    quiet_python()
    loop.run()


if __name__ == "__main__":
    try:
        main()
    except EdgeError as error:
        sys.exit(str(error))
