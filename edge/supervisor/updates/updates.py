"""Updates as the daemon sees them: begun and ended by command, gone on with after a start."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edge.config.canary import Canary
from edge.errors import ConfigError
from edge.supervisor.log import log
from edge.supervisor.request import RequestError, shown
from edge.supervisor.updates.book import Book
from edge.supervisor.updates.candidate import cannot_be_updated, written_digest
from edge.supervisor.updates.records import Update
from edge.supervisor.updates.serving import serve
from edge.supervisor.updates.steps import Steps
from edge.supervisor.updates.watch import Watch
from edge.update_info import ReleaseInfo, UpdateEnd, UpdateInfo

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edge.commands import UpdateModel
    from edge.supervisor.updates.book import Host
    from edge.supervisor.updates.records import Release


class Updates:
    """All updates of a device."""

    def __init__(self, device: str, host: Host) -> None:
        """Read what is remembered of them."""
        self.book = Book(device, host)
        self._host = host
        self._watches: dict[str, Watch] = {}
        self._ways: dict[str, Steps] = {}
        self._chores: set[asyncio.Task[Any]] = set()

    def watch(self, name: str) -> Watch:
        """Return who watches a pipeline's workers: the same one, however often it starts anew."""
        return self._watches.setdefault(name, Watch(name, self.book))

    def will_start_otherwise(self, name: str) -> bool:
        """Whether a pipeline's next worker has another model than the last one, which failed."""
        pipeline = self._host.pipelines.get(name)
        return pipeline is not None and self.book.options_of(name) != pipeline.options

    def follow(self, *, starting: bool = False) -> None:
        """Forget what no longer holds by the YAML, and take up what a dead daemon left.

        To be called before the pipelines are started.
        """
        self.book.follow(starting=starting)
        for name, steps in self._ways.items():
            if self.book.of(name) is None:
                steps.task.cancel()

    def rename(self, device: str) -> None:
        """Keep all that is remembered under another name of the device."""
        if why := self.book.store.rename(device):
            log(logging.WARNING, "not_remembered", why)

    def go_on(self) -> None:
        """Go on with what is under way; to be called once the pipelines are started."""
        for name, update in self.book.store.updates.items():
            if update.phase != "none" and name not in self._ways:
                self._begin(name)
        self._soon(asyncio.to_thread(self.book.store.sweep))

    def _begin(self, name: str) -> None:
        steps = self._ways[name] = Steps(name, self.book, self.watch(name))

        def ended(task: asyncio.Task[None]) -> None:
            if self._ways.get(name) is steps:
                del self._ways[name]
            if task.cancelled():
                return
            if error := task.exception():
                log(logging.ERROR, "update_failed", repr(error), pipeline=name)
            self._soon(asyncio.to_thread(self.book.store.sweep))

        steps.task.add_done_callback(ended)

    def _soon(self, work: Coroutine[Any, Any, Any]) -> None:
        chore = asyncio.get_running_loop().create_task(work)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def close(self) -> None:
        """End what is under way, to be gone on with after the next start; before pipelines end."""
        ways = [steps.task for steps in self._ways.values()]
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, *self._chores, return_exceptions=True)
        for name, update in list(self.book.store.updates.items()):
            counted = update.phase not in ("none", "probation") or self.watch(name).counts
            if update.starts and counted:  # an end in order says nothing against a model
                self.book.remember(name, update.counted(update.starts - 1))

    # Commands

    def begin(self, request: UpdateModel) -> str:
        """Begin an update; return what was begun. Raises RequestError where it cannot be."""
        name, device = request.pipeline, self._host.device
        written, options = device.pipelines[name], device.updates
        if not options.keys:
            raise RequestError("no model is taken over the air: the YAML has no `updates.keys`")
        if not options.may_fetch(request.card):
            raise RequestError(f"`card`: {shown(request.card)} is not below `updates.fetch_from`")
        if why := cannot_be_updated(written):
            raise RequestError(f"{name} cannot be updated over the air: {why}")
        try:
            options.public_keys()
        except ConfigError as error:
            raise RequestError(str(error)) from None
        update = self.book.of(name) or Update(written=written_digest(written))
        if update.phase != "none":
            if update.card == request.card:
                return f"{name} is at it already, in the step `{update.phase}`"
            raise RequestError(
                f"{name} has an update under way ({update.title}, in the step `{update.phase}`): "
                "`rollback-model` ends it"
            )
        if self._host.pipelines[name].state in ("ended", "stopped"):
            raise RequestError(f"{name} has ended")
        begun = update.begun(request.card, _canary(written.canary, request.canary))
        if why := self.book.remember(name, begun):
            raise RequestError(f"it cannot be written down, and so is not begun: {why}")
        self._begin(name)
        return f"{name}: {request.card} is fetched; events tell what becomes of it"

    def promote(self, name: str) -> str:
        """Have the model in the shadow serve. Raises RequestError where there is none."""
        update, steps = self.book.of(name), self._ways.get(name)
        if update is None or steps is None or update.phase == "none":
            raise RequestError(f"{name} has no update under way")
        if update.phase == "probation":
            return f"{update.title} serves already, on probation"
        if update.phase != "shadow":
            raise RequestError(f"{update.title} is not in the shadow yet, but `{update.phase}`")
        steps.promote()
        return f"{update.title} is promoted; events tell what becomes of it"

    def roll_back(self, name: str) -> str:
        """End the update under way, or go back to the model before the good one.

        Raises RequestError where there is neither.
        """
        update, steps = self.book.of(name), self._ways.get(name)
        if update is not None and update.phase != "none":
            if steps is not None:
                steps.abandon("by command")
            return f"{update.title} is given up, in the step `{update.phase}`"
        if update is None or update.good is None:
            raise RequestError(f"{name} runs the YAML's model, and no update is under way")
        self.book.go_back(name, update, "by command")
        self._soon(self._serve(name))
        former = update.former.title if update.former is not None else "the YAML's model"
        return f"{name} goes back from {update.good.title} to {former}"

    async def _serve(self, name: str) -> None:
        async with self._host.changing:
            await serve(self.book, name)
        await asyncio.to_thread(self.book.store.sweep)

    def info(self, name: str) -> UpdateInfo | None:
        """Return what the info message says of a pipeline's updates; None where there were none."""
        update = self.book.of(name)
        if update is None:
            return None
        fetching, last = update.phase == "fetching", update.last
        return UpdateInfo(
            phase=update.phase,
            serving=_release(update.serving),
            good=_release(update.good),
            candidate=_release(update.candidate),
            fetched_bytes=self.book.store.fetched_bytes(name) if fetching else None,
            last=None
            if last is None
            else UpdateEnd(ending=last.ending, title=last.title, why=last.why, at=last.at),
        )


def _canary(written: Canary, asked: dict[str, Any] | None) -> Canary:
    """Return the YAML's canary with what a request says otherwise. Raises RequestError."""
    try:
        return Canary.model_validate(written.model_dump() | (asked or {}), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in found["loc"])
        raise RequestError(f"`canary`: {shown(where)}: {found['msg']}") from None


def _release(release: Release | None) -> ReleaseInfo | None:
    if release is None:
        return None
    return ReleaseInfo(
        name=release.name, version=release.version, digest=release.digest, key_id=release.key_id
    )
