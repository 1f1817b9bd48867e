"""What a worker prints, line by line, and what is worth keeping of it when it dies."""

from __future__ import annotations

from collections import deque

KEPT = 12
FATAL = "Fatal Python error"  # a crash's first line, of dozens (faulthandler)
CHATTER = ("Extension modules:", "INFO: ")  # Python's list of what it had loaded; an engine's hello


class LastWords:
    """Cuts what comes from a pipe into lines and keeps the newest that say something."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=KEPT)
        self._fatal: list[str] = []
        self._unfinished = b""

    def feed(self, data: bytes) -> list[str]:
        """Take in what was read, empty at the end; return the lines that are complete."""
        *whole, self._unfinished = (self._unfinished + data).split(b"\n")
        if not data and self._unfinished:
            whole, self._unfinished = [self._unfinished], b""
        lines = [line.decode("utf-8", "replace").rstrip() for line in whole]
        lines = [line for line in lines if line]
        self._fatal += [line for line in lines if line.startswith(FATAL)][:1]
        self._kept.extend(line for line in lines if not line.startswith((*CHATTER, FATAL)))
        return lines

    @property
    def lines(self) -> list[str]:
        """The newest lines, oldest first, after Python's own word on a crash."""
        return [*self._fatal[-1:], *self._kept]

    @property
    def gist(self) -> str:
        """One line that tells most: Python's own word on a crash, else the last one said."""
        return (self._fatal or self.lines or [""])[-1]
