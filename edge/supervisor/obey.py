"""Does what commands ask for, one change at a time, and remembers what must survive a restart."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edge.commands import (
    REQUESTS,
    Dump,
    Pause,
    Ping,
    PromoteModel,
    Reload,
    Request,
    Resume,
    RollbackModel,
    Set,
    Snapshot,
    UpdateModel,
    picture_topic,
)
from edge.config.ladder import ladder_problems
from edge.errors import SourceError
from edge.supervisor.request import RequestError
from edge.supervisor.steering import value_of, with_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.device import Device
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.steering import Key, Steering
    from edge.supervisor.updates.updates import Updates


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request that was done."""

    message: str
    """In words."""
    picture: str | None = None
    files: list[str] = field(default_factory=list)


class Steerable(Protocol):
    """The daemon, as far as commands reach."""

    steering: Steering
    updates: Updates
    changing: asyncio.Lock
    """Held by who starts or ends pipelines: one change at a time."""

    @property
    def device(self) -> Device:
        """The configuration in force."""

    @property
    def outlet(self) -> Outlet:
        """The way to the broker."""

    async def restart(self, name: str) -> None:
        """Start a pipeline anew, as the configuration and `steering` have it now."""

    async def reload(self) -> str:
        """Read the YAML again; return why it was not taken, empty where it was."""


class Obey:
    """Does what requests ask for."""

    known = frozenset(REQUESTS)

    def __init__(self, pipelines: Mapping[str, SupervisedPipeline], daemon: Steerable) -> None:
        self._pipelines = pipelines
        self._daemon = daemon

    async def request(self, request: Request) -> Outcome:
        """Do it, and return what came of it. Raises RequestError where it cannot be done.

        Asked twice for the same, it is done already: the broker may deliver a request again.
        """
        if isinstance(request, Ping):
            return Outcome("here")
        if isinstance(request, Snapshot):
            return await self._snapshot(self._pipeline(request.pipeline))
        if isinstance(request, Dump):
            return await self._dump(request.pipeline)
        if isinstance(request, Reload):
            return await self._reload()
        if isinstance(request, UpdateModel | PromoteModel | RollbackModel):
            return self._of_model(request)
        async with self._daemon.changing:
            if isinstance(request, Pause | Resume):
                paused = isinstance(request, Pause) and request.paused
                return await self._pause(self._pipeline(request.pipeline), paused=paused)
            if isinstance(request, Set):
                return await self._set(request)
        raise AssertionError(request)

    def _pipeline(self, name: str) -> SupervisedPipeline:
        if name not in self._pipelines:
            raise RequestError(f"the pipeline {name} has gone meanwhile")
        return self._pipelines[name]

    async def _pause(self, pipeline: SupervisedPipeline, *, paused: bool) -> Outcome:
        name = pipeline.name
        if pipeline.state in ("ended", "stopped"):
            raise RequestError(f"{name} has ended: there is nothing to pause or resume")
        if paused == (pipeline.state == "paused"):
            return Outcome(f"{name} is paused already" if paused else f"{name} is not paused")
        if paused:
            await pipeline.pause()
            if pipeline.state != "paused":
                raise RequestError(f"{name} came to its end before it was paused")
        else:
            pipeline.resume()
        self._daemon.steering.pause(name, paused=paused)
        words = "is paused: its source and its model are let go of" if paused else "starts again"
        return await self._remembered(name, words)

    async def _set(self, request: Set) -> Outcome:
        name, steering = request.pipeline, self._daemon.steering
        pipeline, written = self._pipeline(name), self._daemon.device.pipelines[request.pipeline]
        asked: dict[Key, float] = {}
        if request.threshold is not None:
            asked["threshold"] = request.threshold
        if request.deadline_ms is not None:
            asked["deadline_ms"] = request.deadline_ms
        if not asked and not request.reset:
            raise RequestError("give `threshold`, `deadline_ms`, or `reset: true`")
        for key, value in asked.items():
            self._see_that_it_may_be(key, value, pipeline)
        before: dict[Any, float] = {} if request.reset else pipeline.overrides
        values = {**before, **asked}
        wanted = with_values(written.as_run, values)
        for _, problem in ladder_problems(wanted):
            raise RequestError(f"the ladder {problem}")
        if wanted == pipeline.configured:
            return Outcome(f"{name} has these values already")
        if pipeline.state in ("ended", "stopped"):
            raise RequestError(f"{name} has ended")
        steering.override(name, written, values)
        await self._daemon.restart(name)
        parts = [f"{key} {value_of(wanted, key)!r}" for key in _KEYS if value_of(wanted, key)]
        return await self._remembered(name, f"has {' and '.join(parts)}")

    def _see_that_it_may_be(self, key: Key, value: float, pipeline: SupervisedPipeline) -> None:
        limits = self._daemon.device.commands
        lowest, highest = getattr(limits, f"min_{key}"), getattr(limits, f"max_{key}")
        if value_of(pipeline.options, key) is None:
            kind = pipeline.options.decode.type
            raise RequestError(f"`{key}`: the decoder of {pipeline.name}, `{kind}`, has none")
        if not lowest <= value <= highest:
            raise RequestError(
                f"`{key}` must be {lowest:g} to {highest:g} (`commands.min_{key}`, `max_{key}`), "
                f"not {value:g}"
            )

    async def _remembered(self, name: str, words: str) -> Outcome:
        """Write down what has changed, tell it, and return it."""
        trouble = await asyncio.to_thread(self._daemon.steering.write)
        if trouble:
            words += f"; a restart will not remember it: {trouble}"
        level = logging.WARNING if trouble else logging.INFO
        pipeline = self._pipeline(name)
        self._daemon.outlet.tell(
            "steered",
            f"by command, {name} {words}",
            pipeline=name,
            level=level,
            paused=pipeline.state == "paused",
            overrides=pipeline.overrides,
        )
        return Outcome(f"{name} {words}")

    async def _snapshot(self, pipeline: SupervisedPipeline) -> Outcome:
        if pipeline.state != "running":
            raise RequestError(f"{pipeline.name} is {pipeline.state}: there is nothing to see")
        device = self._daemon.device
        try:
            found = await pipeline.looking.picture(device.commands.snapshot_kb * 1024)
        except SourceError as error:
            raise RequestError(f"{pipeline.name}: {error}") from None
        outlet = self._daemon.outlet
        topic = picture_topic(device.mqtt.base_topic, device.device, pipeline.name)
        if outlet.publish(topic, found.jpeg) is None:
            raise RequestError("the broker is away")
        size = len(found.jpeg)
        return Outcome(f"frame {found.frame} is on {topic}, a JPEG of {size} bytes", picture=topic)

    async def _dump(self, name: str | None) -> Outcome:
        chosen = [self._pipeline(name)] if name is not None else list(self._pipelines.values())
        tasks = [task for each in chosen if (task := each.black_box.write()) is not None]
        files = [str(path) for path in await asyncio.gather(*tasks) if path is not None]
        if not files:
            raise RequestError("no trace was written: nothing is recorded, or `recorder.keep` is 0")
        return Outcome(f"{len(files)} trace{'s' * (len(files) > 1)} written", files=files)

    def _of_model(self, request: UpdateModel | PromoteModel | RollbackModel) -> Outcome:
        name, updates = self._pipeline(request.pipeline).name, self._daemon.updates
        if isinstance(request, UpdateModel):
            return Outcome(updates.begin(request))
        if isinstance(request, PromoteModel):
            return Outcome(updates.promote(name))
        return Outcome(updates.roll_back(name))

    async def _reload(self) -> Outcome:
        if why_not := await self._daemon.reload():
            raise RequestError(f"the old configuration stays in force: {why_not}")
        return Outcome("the configuration was read again and is in force")


_KEYS: tuple[Key, ...] = ("threshold", "deadline_ms")
