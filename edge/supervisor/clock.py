"""The wall clock, for payloads only: nothing is ever timed by it."""

import ctypes
import time
from datetime import datetime, timezone

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
TIMEX_BYTES = 256  # room for a struct timex (208 bytes on 64-bit), all zero: just ask


def utc(monotonic_ns: int | None = None) -> str:
    """Return a moment, now if not given, as UTC in ISO 8601 with milliseconds."""
    wall_ns = time.time_ns()
    if monotonic_ns is not None:
        wall_ns -= time.monotonic_ns() - monotonic_ns
    moment = datetime.fromtimestamp(wall_ns / 1e9, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def synced() -> bool:
    """Return whether the kernel holds the clock for set by NTP or the like."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) not in (-1, TIME_ERROR))
