"""The parent's side of the system under test: sends queries, hears results, keeps our figures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from edge.config.pipeline import Pipeline
from edge.latency.histogram import Histogram
from edge.supervisor.process import ENVIRONMENT
from edge.wire import Done, Ready, Wire
from witness.pipeline import QUERY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

PATIENCE_S = 60.0
WARM_UP = 10  # queries before LoadGen's first, in nobody's figures


class System:
    """Our loop in a process, answering queries one by one."""

    def __init__(self, model: dict[str, Any], decode: dict[str, Any], pictures: Path) -> None:
        """Take the model and decoder as the YAML has them, and the folder of the pictures."""
        options = Pipeline.model_validate(
            {"source": {"type": "synthetic", "fps": None}, "model": model, "decode": decode}
        )
        self._queries, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, answered = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._wire = Wire(ours)
        self._complete: Callable[[int], None] = lambda _: None
        self.latency = Histogram()
        """Microseconds from a query's issue to its decoded result, by the loop's own stamps."""
        self.across = Histogram()
        """Microseconds from the decoded result until this process had it."""
        self.stalls = 0
        self._closing = False
        self._answers = threading.Semaphore(0)
        command = [sys.executable, "-m", "witness.pipeline", f"{asked.fileno()}"]
        command += [f"{answered.fileno()}", str(pictures), options.model_dump_json()]
        with asked, answered:
            self.process = subprocess.Popen(
                command,
                pass_fds=[asked.fileno(), answered.fileno()],
                env=os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stderr=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> Self:
        """Wait until it is ready and warm. Raises RuntimeError with its last words if it died."""
        if not self._wire.wait(PATIENCE_S):
            raise RuntimeError("the system under test does not answer")
        try:
            ready = self._wire.receive()
        except ConnectionError:
            raise RuntimeError(f"the system under test died: {self._last_words()}") from None
        assert isinstance(ready, Ready)
        self.engine = f"{ready.engine} {ready.engine_version}"
        self._hearing = threading.Thread(target=self._hear, name="hear", daemon=True)
        self._hearing.start()
        for number in range(WARM_UP):
            self.issue(number, number)
            if not self._answers.acquire(timeout=PATIENCE_S):
                raise RuntimeError("the system under test does not answer")
        self.usual_ms: float = self.latency.percentile(50) / 1e3
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._queries.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.communicate()
        self._hearing.join()
        self._wire.socket.close()

    def begin(self, complete: Callable[[int], None]) -> None:
        """Count from now on; `complete` is called with the id of each query that was answered."""
        self.latency.clear()
        self.across.clear()
        self._complete = complete

    def issue(self, query: int, picture: int) -> None:
        """Send a query; its time begins here."""
        self._queries.send(QUERY.pack(query, picture, time.monotonic_ns()))

    def _hear(self) -> None:
        while True:
            self._wire.wait(PATIENCE_S)
            try:
                record = self._wire.receive()
            except ConnectionError:
                self._died()
                return
            if isinstance(record, Done):
                self.latency.record((record.decoded_ns - record.captured_ns) // 1000)
                self.across.record((time.monotonic_ns() - record.decoded_ns) // 1000)
                self._complete(int(record.name))
                self._answers.release()

    def _died(self) -> None:
        """End with it, for LoadGen waits for ever for a query that nobody will answer."""
        if not self._closing:
            print(f"the system under test died: {self._last_words()}", file=sys.stderr, flush=True)
            os._exit(1)

    def _last_words(self) -> str:
        said = self.process.communicate()[1].strip().splitlines()
        return said[-1] if said else "not a word"

    def stall(self, seconds: float, every_s: float, until: threading.Event) -> None:
        """Stop the process dead for `seconds`, again and again, until told otherwise."""
        while not until.wait(every_s - seconds):
            os.kill(self.process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self.process.pid, signal.SIGCONT)
            self.stalls += 1
