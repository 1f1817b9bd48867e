"""Plays systemd for one daemon: readiness, the watchdog, and a restart at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WATCHDOG_S = 2.0  # the unit has 15: what is tried is that the watchdog acts, not how patient it is
ABORT_S = 1.0  # TimeoutAbortSec=
TICK_S = 0.02
WRONG_CONFIGURATION = 2
STATE, PARENT, NICE = 0, 1, 16  # fields of /proc/PID/stat, from the third on
ENDED = ["X", *["0"] * 50]


class ServiceManager:
    """Keeps `edge run CONFIG` running, in a thread of its own.

    What it finds wrong is told to `problem`: an end that nobody has caused, a watchdog that acts
    though nobody stopped the daemon. `died` is called after each end, before the next start; a
    new daemon does not wait for workers that are left behind, as a harsher systemd would do, but
    those that are stopped are killed.
    """

    def __init__(
        self,
        config: Path,
        folder: Path,
        environ: Mapping[str, str],
        *,
        died: Callable[[], None],
        note: Callable[[str], None],
        problem: Callable[[str], None],
        watchdog_s: float = WATCHDOG_S,
    ) -> None:
        self._command = [sys.executable, "-m", "edge", "run", str(config)]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"edge-fault-injection/{os.getpid()}/{id(self)}"  # abstract: unix(7)
        self._socket.bind("\0" + name)
        self._socket.settimeout(TICK_S)
        self._watchdog_s = watchdog_s
        self._environ = os.environ | environ
        self._environ |= {"NOTIFY_SOCKET": f"@{name}"}
        self._environ |= {"WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}", "PYTHONUNBUFFERED": "1"}
        self._mark = f"RUNTIME_DIRECTORY={environ['RUNTIME_DIRECTORY']}".encode()
        self._log = (folder / "daemon.log").open("ab")
        self.log = folder / "daemon.log"
        self._died, self._note, self._problem = died, note, problem
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = True
        self._excused = 0
        self.ready = False
        self._begun = threading.Condition()
        self.starts = 0
        self.ended_s = (0.0, 0.0)
        """When the last daemon ended: by the wall clock, and monotonic."""
        self.while_down: list[Callable[[], None]] = []
        """What is done once, after the next end and before the start that follows."""
        self.may_fail_s = 0.0
        """Until when (monotonic) an end by a wrong configuration is nobody's fault but ours."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the daemon and keep it running."""
        self._thread.start()

    def stop(self) -> None:
        """End it in order, for good; by force where it takes too long."""
        self._wanted = False
        self.strike(signal.SIGTERM)
        self._thread.join(30)
        if self._thread.is_alive():
            self._problem("the daemon did not end within 30 s of SIGTERM")
            self.strike(signal.SIGKILL)
            self._thread.join(10)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._log.close()
        self._socket.close()

    @property
    def pid(self) -> int:
        """Process id of the daemon, or of the last one."""
        assert self._process is not None
        return self._process.pid

    def strike(self, number: signal.Signals) -> int:
        """Send the daemon a signal; returns how many there were up to then.

        Whatever ends it from then on is our doing.
        """
        with self._begun:
            if number not in {signal.SIGHUP, signal.SIGCONT}:
                self._excused = self.starts
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            return self.starts

    def reload(self) -> None:
        """Send SIGHUP to a daemon that is ready; systemd reloads no other."""
        if self.ready:
            self.strike(signal.SIGHUP)

    def wait_for_start(self, after: int, limit_s: float = 30) -> None:
        """Wait until the daemon was started again. Raises TimeoutError."""
        with self._begun:
            if not self._begun.wait_for(lambda: self.starts > after, limit_s):
                raise TimeoutError(f"the daemon was not started again within {limit_s:g} s")

    def processes(self) -> list[int]:
        """Return the process ids of the service: the daemon, its workers, those of old ones."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def workers(self) -> dict[int, int]:
        """Return the daemon's workers by their niceness, which their pipeline's YAML sets."""
        ours = [pid for pid in self.processes() if parent_of(pid) == self.pid]
        return {int(_stat(pid)[NICE]): pid for pid in ours}

    def orphans(self) -> list[int]:
        """Return the processes of daemons that are no more."""
        return [
            pid
            for pid in self.processes()
            if pid != self.pid and parent_of(pid) not in {0, self.pid}
        ]

    def _run(self) -> None:
        while self._wanted:
            with self._begun:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env=self._environ,
                )
                self.starts += 1
                self.ready = False
                self._begun.notify_all()
            self._note(f"daemon {self.pid} started")
            status = self._watch(self._process)
            self.ended_s = time.time(), time.monotonic()
            self._note(f"daemon {self.pid} ended ({_how(status)})")
            wrong = status == WRONG_CONFIGURATION and time.monotonic() < self.may_fail_s
            if self._excused < self.starts and not wrong:
                self._problem(f"the daemon ended and nobody had struck it: {_how(status)}")
                self._wanted = False
            for pid in self.processes():
                if _state(pid) == "T":
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            hooks, self.while_down = self.while_down, []
            for each in (self._died, *hooks):
                each()

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Stay with a daemon to its end; return its exit status."""
        heard_s: float | None = None
        aborted_s: float | None = None
        while process.poll() is None:
            with suppress(TimeoutError):
                said = self._socket.recv(65536)
                if b"READY=1" in said or b"WATCHDOG=1" in said:
                    heard_s, self.ready = time.monotonic(), True
                continue
            now_s = time.monotonic()
            if aborted_s is not None:
                if now_s - aborted_s > ABORT_S:
                    process.kill()
            elif heard_s is not None and now_s - heard_s > self._watchdog_s:
                if self._excused < self.starts:
                    self._problem(
                        f"no WATCHDOG=1 for {self._watchdog_s:g} s, and nobody stopped it"
                    )
                self._note("the watchdog acts: SIGABRT")
                aborted_s = now_s
                for number in (signal.SIGABRT, signal.SIGCONT):
                    self.strike(number)
        return process.returncode


def parent_of(pid: int) -> int:
    """Return the process id of a process's parent; 0 where it has ended."""
    return int(_stat(pid)[PARENT])


def _state(pid: int) -> str:
    return _stat(pid)[STATE]


def _stat(pid: int) -> list[str]:
    """Return what proc(5) says of a process, from its third field on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ENDED


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
