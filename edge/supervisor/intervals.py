"""Does something again and again, on a grid that does not drift."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def at_intervals(act: Callable[[], None], interval_s: Callable[[], float]) -> None:
    """Call `act` every interval, which may change, until cancelled; the first time after one."""
    due = time.monotonic()
    while True:
        due = max(due + interval_s(), time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        act()
