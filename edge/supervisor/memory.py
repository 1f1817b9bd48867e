"""How much memory a process holds."""

from __future__ import annotations

import os
from pathlib import Path


def rss_bytes(pid: int | str) -> int | None:
    """Return the resident memory of a process (proc(5), statm), None when it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
