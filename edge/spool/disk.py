"""The spool's file, opened twice: to be written in another thread, and to be read meanwhile."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from edge.spool.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Disk:
    """An open spool; one that cannot be written now can still be read, and so delivered."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises sqlite3.Error where it cannot even be read."""
        self._path = path
        self.refusal: sqlite3.OperationalError | None = None
        """Why it can only be read; None where it can be written."""
        try:
            self.store, self.reader = self._opened()
        except sqlite3.OperationalError as error:
            self.store, self.reader = self._opened(read_only=True)
            self.refusal = error

    def _opened(self, *, read_only: bool = False) -> tuple[Store, Store]:
        store = Store(self._path, read_only=read_only)
        try:
            return store, Store(self._path, read_only=read_only)
        except sqlite3.Error:
            store.close()
            raise

    def open_to_write(self) -> None:
        """Open anew what could be read only. Raises sqlite3.Error where it still can."""
        if self.refusal is not None:
            before = self.store, self.reader
            self.store, self.reader = self._opened()
            self.refusal = None
            for store in before:
                store.close()

    def close(self) -> None:
        """Close the file."""
        self.store.close()
        self.reader.close()
