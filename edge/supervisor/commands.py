"""Commands over MQTT: who may say what, how often, in which order, and that each is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from edge.commands import Answer, Request
from edge.spool.message import Outgoing
from edge.supervisor import clock
from edge.supervisor.log import log
from edge.supervisor.pipeline_info import reached
from edge.supervisor.request import (
    LONGEST_CORRELATION,
    RequestError,
    id_of,
    parse,
    shown,
    wrong_with_topic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.device import Device
    from edge.mqtt.connection import Received
    from edge.supervisor.obey import Obey, Outcome
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline

BURST = 10  # commands at once, after a rest
MOST_AT_WORK = 16  # commands that were begun and are not answered yet
TOLD_EVERY_S = 10.0


class Commands:
    """Hears what is said on a device's command topics, has it obeyed, and answers."""

    def __init__(self, pipelines: Mapping[str, SupervisedPipeline], obey: Obey) -> None:
        """`pipelines` are those that run, kept up to date by their owner."""
        self._pipelines = pipelines
        self._obey = obey
        self._at_work: set[asyncio.Task[None]] = set()
        self._heard: tuple[Outlet, str] | None = None
        self._credit = float(BURST)
        self._credit_s = time.monotonic()
        self._untold = 0
        self._quiet_until_s = 0.0

    def use(self, device: Device, outlet: Outlet) -> None:
        """Hear the commands of this configuration, where it allows any, and no others."""
        self._device, self._outlet = device, outlet
        self._base = device.mqtt.base_topic
        now = outlet, f"{self._base}/{outlet.device}/command/+"
        if self._heard is not None:
            self._heard[0].unsubscribe(self._heard[1])
        self._heard = None
        if device.commands.allow:
            outlet.subscribe(now[1], self._take)
            self._heard = now

    async def close(self) -> None:
        """Hear no more; what is at work ends unanswered."""
        if self._heard is not None:
            self._heard[0].unsubscribe(self._heard[1])
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    def _take(self, message: Received) -> None:
        """Look at one message. Whatever it is, nothing is raised here."""
        name = message.topic.rpartition("/")[2]
        if not self._may_look():
            self._tell_refused(name, "more commands came than `commands.per_second` allows")
            return
        if message.retain:
            # It lies at the broker: it would act again at each reconnect, and long after.
            self._tell_refused(name, "it was retained at the broker: publish it without retain")
            return
        try:
            request = self._checked(name, message)
        except RequestError as error:
            self._tell_refused(name, str(error))
            self._answer(name, message, id_of(message.payload), error)
            return
        task = asyncio.get_running_loop().create_task(self._work(request, message))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def _may_look(self) -> bool:
        """Whether there is credit for one command more; it grows with time."""
        now_s = time.monotonic()
        grown = (now_s - self._credit_s) * self._device.commands.per_second
        self._credit, self._credit_s = min(self._credit + grown, BURST), now_s
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _checked(self, name: str, message: Received) -> Request:
        """Return what is asked for. Raises RequestError where it will not be done."""
        if message.response_topic is not None:
            wrong = wrong_with_topic(message.response_topic, self._base, self._outlet.device)
            if wrong:
                raise RequestError(f"the response topic {wrong}")
        if message.correlation is not None and len(message.correlation) > LONGEST_CORRELATION:
            raise RequestError(f"the correlation data has over {LONGEST_CORRELATION} bytes")
        request = parse(name, message.payload)
        if request.command not in self._device.commands.allowed:
            raise RequestError(f"`{request.command}` is not among the `commands.allow` of the YAML")
        named = getattr(request, "pipeline", None)
        if named is not None and named not in self._pipelines:
            known = ", ".join(self._pipelines)
            raise RequestError(f"there is no pipeline {shown(named)}; known: {known}")
        if len(self._at_work) >= MOST_AT_WORK:
            raise RequestError(f"{MOST_AT_WORK} commands are at work already: try again later")
        return request

    async def _work(self, request: Request, message: Received) -> None:
        try:
            outcome: Outcome | RequestError = await self._obey.request(request)
        except RequestError as error:
            self._tell_refused(request.command, str(error))
            outcome = error
        self._answer(request.command, message, request.id, outcome, request)

    def _answer(
        self,
        name: str,
        message: Received,
        request_id: str | None,
        outcome: Outcome | RequestError,
        request: Request | None = None,
    ) -> None:
        done = not isinstance(outcome, RequestError)
        named = getattr(request, "pipeline", None)
        told = [named] if named is not None else list(self._pipelines)
        known = request is not None or name in self._obey.known
        answer = Answer(
            device=self._outlet.device,
            boot=self._outlet.boot,
            command=name if known else "unknown",
            id=request_id,
            at=clock.utc(),
            clock_synced=self._outlet.clock_synced,
            done=done,
            message=str(outcome) if isinstance(outcome, RequestError) else outcome.message,
            pipelines={
                each: reached(self._pipelines[each]) for each in told if each in self._pipelines
            },
            picture=None if isinstance(outcome, RequestError) else outcome.picture,
            files=[] if isinstance(outcome, RequestError) else outcome.files,
        )
        topic, correlation = message.response_topic, message.correlation
        if topic is None or wrong_with_topic(topic, self._base, self._outlet.device):
            topic = answer.topic(self._base)
        if correlation is not None and len(correlation) > LONGEST_CORRELATION:
            correlation = None
        self._outlet.put(Outgoing(topic, answer.to_json(), correlation))
        log(logging.INFO, "command", answer.message, command=answer.command, done=done)

    def _tell_refused(self, name: str, why: str) -> None:
        """Tell of a refused command, but not of each when they come in crowds."""
        self._untold += 1
        now_s = time.monotonic()
        if now_s < self._quiet_until_s:
            return
        self._quiet_until_s = now_s + TOLD_EVERY_S
        count, self._untold = self._untold, 0
        self._outlet.tell(
            "command_refused",
            f"{shown(name)}: {why}",
            level=logging.WARNING,
            refused_since_last_event=count,
        )
