"""Pictures of what a pipeline sees, on their way from its worker to who asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge.errors import SourceError
from edge.wire import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.wire import Picture

LONGEST_WAIT_S = 10.0


class Looking:
    """Asks the worker of one pipeline for pictures; all who wait get the next one."""

    def __init__(self, ask: Callable[[Look], bool]) -> None:
        """`ask` sends the worker a record; False when there is none that could hear."""
        self._ask = ask
        self._waiting: list[asyncio.Future[Picture]] = []

    async def picture(self, max_bytes: int) -> Picture:
        """Return a picture of the next frame that is answered.

        Raises SourceError when there is none.
        """
        if not self._ask(Look(max_bytes)):
            raise SourceError("there is no worker that could take a picture")
        future: asyncio.Future[Picture] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            found = await asyncio.wait_for(future, LONGEST_WAIT_S)
        except asyncio.TimeoutError:
            raise SourceError(f"no frame was answered within {LONGEST_WAIT_S:g} s") from None
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
        if not found.jpeg:
            raise SourceError(found.why_not)
        return found

    def came(self, picture: Picture) -> None:
        """Hand a picture to all who wait."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(picture)
