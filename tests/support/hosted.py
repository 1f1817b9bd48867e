"""A supervised pipeline with a real worker, and nobody around it but who hears what it says."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from edge.config.recorder import Recorder
from edge.messages import Metrics, Result
from edge.supervisor.black_box import Archive
from edge.supervisor.pipeline import SupervisedPipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge.config.pipeline import Pipeline
    from edge.supervisor.model_watch import ModelWatch
    from edge.supervisor.outlet import Outlet

PATIENCE_S = 40.0  # for things that take a second on a quiet machine


class Ear:
    """Stands where the outlet would be, and keeps all it is given."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.metrics: list[Metrics] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.device, self.boot, self.base_topic = "dev", "boot", "edge"
        self.clock_synced = True
        self.waiting = self.spooled = self.given_up = 0
        self.spool = SimpleNamespace()

    def send(self, message: Any, **_: Any) -> None:
        """Keep a message."""
        kept: list[Any] = self.results if isinstance(message, Result) else self.metrics
        kept.append(message)

    def tell(self, event: str, message: str, *, level: int = 0, **details: Any) -> None:
        """Keep an event."""
        del level
        self.events.append((event, message, details))

    def changed(self) -> None:
        """Take no note."""

    def answered(self, *_: Any) -> None:
        """Take no note."""

    def told(self, event: str) -> list[str]:
        """Return the messages of all events of a name."""
        return [message for name, message, _ in self.events if name == event]


class Hosted:
    """A pipeline at work."""

    def __init__(self, options: Pipeline, watch: ModelWatch | None, **more: Any) -> None:
        self.ear = Ear()
        self.pipeline = SupervisedPipeline(
            "cam",
            options,
            cast("Outlet", self.ear),
            sequence=itertools.count(),
            broker=None,
            archive=Archive(Recorder(min_interval_s=1)),
            overrides={},
            watch=watch,
            **{"max_frames": None, **more},
        )

    async def until(self, holds: Callable[[], Any], what: str = "") -> Any:
        """Wait until something holds; return it."""
        end = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            assert time.monotonic() < end, (what, self.pipeline.state, self.ear.events)
            await asyncio.sleep(0.005)
        return found

    async def until_results(self, count: int, *, digest: str = "") -> list[Result]:
        """Wait for so many results from now on, of a model if it is named."""
        before = len(self.ear.results)

        def came() -> list[Result]:
            new = [r for r in self.ear.results[before:] if digest in ("", r.model_digest)]
            return new if len(new) >= count else []

        found: list[Result] = await self.until(came, f"{count} results")
        return found

    @property
    def worker(self) -> int:
        """Return the worker's process id."""
        pid = self.pipeline.keeper.pid
        assert pid is not None
        return pid


@asynccontextmanager
async def hosted(
    options: Pipeline, watch: ModelWatch | None = None, **more: Any
) -> AsyncIterator[Hosted]:
    """Run a pipeline until the end of the context."""
    host = Hosted(options, watch, **more)
    running = asyncio.create_task(host.pipeline.run())
    try:
        yield host
    finally:
        await host.pipeline.stop()
        await asyncio.wait_for(running, PATIENCE_S)
