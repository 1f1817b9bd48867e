"""Runs the command `edge` as its user does."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND_LIMIT_S = 60


def edge(
    *arguments: str | Path, environ: dict[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `edge ARGUMENTS` to its end; a traceback is never an answer."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_LIMIT_S,
        env=os.environ | (environ or {}),
        cwd=cwd,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
