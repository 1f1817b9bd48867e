"""Waits before the daemon begins, where it has ended badly again and again.

systemd starts it again at once and for ever; pauses that grow (RestartSteps=) it knows from
version 254 on only, and Debian 12 has 252. So the daemon takes its own, the same as its workers'.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.state import runtime_directory
from edge.supervisor.notify import notify

if TYPE_CHECKING:
    from pathlib import Path

ENDS_THE_WAIT = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Restarts:
    """Counts, in the runtime directory, how often in a row the daemon ended badly."""

    def __init__(self) -> None:
        """Only under systemd is there anybody who would start us again."""
        folder = runtime_directory() if "NOTIFY_SOCKET" in os.environ else None
        self._path: Path | None = folder / "restarts.json" if folder is not None else None
        self._bad_ends = 0

    def wait(self) -> bool:
        """Wait until it is time to begin; False when we are told to end meanwhile."""
        if self._path is None:
            return True
        pause_s = self._pause_s(self._path)
        self._note(self._path)
        if pause_s:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDS_THE_WAIT)
            times = f"{self._bad_ends} times in a row"
            notify(f"STATUS=ended badly {times}: begins again {pause_s:g} s after the last end")
            came = signal.sigtimedwait(ENDS_THE_WAIT, pause_s)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS_THE_WAIT)
            if came is not None and came.si_signo != signal.SIGHUP:
                self.ended_well()
                return False
        self._note(self._path)
        return True

    def ended_well(self) -> None:
        """Forget what was: the next start is a first one."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _note(self, path: Path) -> None:
        with suppress(OSError):  # a full disk is a reason neither to wait nor to end
            path.write_text(json.dumps([self._bad_ends, time.monotonic()]))

    def _pause_s(self, path: Path) -> float:
        """Return how long to wait: the file is there when the run that wrote it ended badly."""
        try:
            bad_ends, began_s = json.loads(path.read_text())
        except (OSError, ValueError, TypeError):
            return 0
        from edge.supervisor.keeper import HEALTHY_S, RETRY_S

        ran_long = time.monotonic() - began_s > HEALTHY_S
        self._bad_ends = 1 if ran_long else bad_ends + 1
        return RETRY_S[min(self._bad_ends, len(RETRY_S)) - 1]
