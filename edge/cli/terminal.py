"""The keyboard of a live view, a key at a time; the terminal is as before when it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from typing_extensions import Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READ_BYTES = 1024
SEQUENCE = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1b[1~": "home", b"\x1bOH": "home",
    b"\x1b[F": "end", b"\x1b[4~": "end", b"\x1bOF": "end",
    b"\n": "enter", b"\r": "enter", b"\x1b": "escape",
}  # fmt: skip


class Keyboard:
    """Reads keys of standard input in cbreak mode, for as long as the `with` lasts.

    Signals that end a program make `ended` true instead, so that all ends in order. Ctrl-Z gives
    the terminal back for as long as the program stands.
    """

    def __init__(self) -> None:
        self.ended = False
        self._suspended = False
        self._input = sys.stdin.fileno()

    def __enter__(self) -> Self:
        """Take the keyboard."""
        self._before = termios.tcgetattr(self._input)
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._handlers = {
            number: signal.signal(number, self._note)
            for number in (*ENDING, signal.SIGWINCH, signal.SIGTSTP)
        }
        self._wake_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        tty.setcbreak(self._input)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back as it was."""
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        signal.set_wakeup_fd(self._wake_before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._wake)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.ended = self.ended or number in ENDING
        self._suspended = self._suspended or number == signal.SIGTSTP

    def asked_to_stand(self) -> bool:
        """Whether Ctrl-Z came since this was asked before."""
        asked, self._suspended = self._suspended, False
        return asked

    def stand(self) -> None:
        """Stop the program, the terminal as it was, until it is told to go on."""
        now = termios.tcgetattr(self._input)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        os.kill(os.getpid(), signal.SIGSTOP)
        termios.tcsetattr(self._input, termios.TCSADRAIN, now)

    def keys(self, timeout_s: float) -> list[str]:
        """Wait so long at most; return the keys pressed, none also when a signal came.

        A letter is itself; others have names: up, down, page up, page down, home, end, enter,
        escape.
        """
        ready, _, _ = select.select([self._input, self._woken], [], [], timeout_s)
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, READ_BYTES)
        if self._input not in ready:
            return []
        try:
            pressed = os.read(self._input, READ_BYTES)
        except OSError:  # the terminal is gone
            pressed = b""
        self.ended = self.ended or not pressed
        return [NAMES.get(key, key.decode("ascii", "replace")) for key in SEQUENCE.findall(pressed)]
