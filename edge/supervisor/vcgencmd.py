"""Asks the Raspberry Pi's firmware by `vcgencmd`, where the kernel's sysfs does not tell."""

from __future__ import annotations

import re
import shutil
import subprocess

LIMIT_S = 2.0


def find() -> str | None:
    """Return the path of the program; None where there is none."""
    return shutil.which("vcgencmd")


def get_throttled(program: str) -> int | None:
    """Return the bits of `vcgencmd get_throttled`; None where it does not say."""
    try:
        done = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = re.fullmatch(r"throttled=0x([0-9a-f]{1,8})", done.stdout.strip())
    return int(match[1], 16) if match else None
