"""Where the daemon keeps what has to survive it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "edge-runtime"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder for what the daemon keeps: systemd's where it gives one, else the user's.

    None where there is neither, as for a user without a home. `STATE_DIRECTORY` is of
    systemd.exec(5), `XDG_STATE_HOME` of the XDG Base Directory Specification, which ignores
    relative paths.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if (base := Path(environ.get("XDG_STATE_HOME", ""))).is_absolute():
        return base / NAME
    try:
        return Path("~/.local/state", NAME).expanduser()
    except RuntimeError:
        return None
