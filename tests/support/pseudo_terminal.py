"""A terminal without a person: what a command shows on it, and keys pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

from parties import PATIENCE_S

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from typing_extensions import Self

HOME = b"\x1b[H"  # a screen begins here
LOOKS = round(10 * PATIENCE_S)  # each a tenth of a second at most
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
OWN_TERMINAL = (  # so that Ctrl-C and a new size reach the command as signals
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"  # the alternate screen, by xterm's words


class PseudoTerminal:
    """Runs `edge ARGUMENTS` in a terminal of its own."""

    def __init__(self, *arguments: str, rows: int = 24, columns: int = 100) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(rows, columns)
        self.attributes = termios.tcgetattr(self._theirs)
        self.written = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, sys.executable, "-m", "edge", *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        self.process.send_signal(number)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def modes(self) -> list[object]:
        """The terminal's attributes as they are now."""
        return list(termios.tcgetattr(self._theirs))

    @property
    def screen(self) -> list[str]:
        """The lines of the screen that was shown last."""
        shown = self.written[self.written.rfind(HOME) :]
        return ESCAPE.sub(b"", shown).decode(errors="replace").split("\r\n")

    def read(self, timeout_s: float = 0.1) -> bool:
        """Read what is shown within a moment; False when nothing was."""
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return False
        self.written += os.read(self._ours, 65536)
        return True

    def wait_for(self, fits: Callable[[list[str]], bool]) -> list[str]:
        """Wait for a screen that fits, and return it."""
        for _ in range(LOOKS):  # and not by the clock: a stopped machine's time is nobody's fault
            if fits(self.screen):
                return self.screen
            self.read()
        raise TimeoutError("\n".join(self.screen))

    def wait_until_stopped(self) -> None:
        """Wait until the command stands still, as after Ctrl-Z."""
        end = time.monotonic() + PATIENCE_S
        status = Path(f"/proc/{self.process.pid}/status")
        while "State:\tT" not in status.read_text(encoding="ascii"):
            self.read(0.01)
            if time.monotonic() > end:
                raise TimeoutError("it goes on")
        while self.read(0):
            pass

    def wait(self) -> int:
        """Wait for the command's end, reading what it says; return its exit status."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        while self.read(0):
            pass
        return self.process.wait(0.1)
