"""The models of a device that came over the air: which of them serves, and what is on its way."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from edge.config.canary import Canary
from edge.errors import ConfigError, ModelError
from edge.supervisor import clock
from edge.supervisor.log import log
from edge.supervisor.request import RequestError, shown
from edge.supervisor.updates.candidate import cannot_be_updated, with_release, written_digest
from edge.supervisor.updates.in_info import update_info
from edge.supervisor.updates.records import MOST_RESUMED, Update
from edge.supervisor.updates.steps import Steps
from edge.supervisor.updates.store import Store
from edge.supervisor.updates.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.commands import UpdateModel
    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.steering import Steering
    from edge.supervisor.updates.records import Release
    from edge.update_info import UpdateInfo


class Host(Protocol):
    """The daemon, as far as updates reach."""

    steering: Steering
    changing: asyncio.Lock
    """Held by who starts or ends pipelines: one change at a time."""

    @property
    def device(self) -> Device:
        """The configuration in force."""

    @property
    def outlet(self) -> Outlet:
        """The way to the broker."""

    @property
    def pipelines(self) -> Mapping[str, SupervisedPipeline]:
        """Those that run."""

    async def restart(self, name: str) -> None:
        """Start a pipeline anew, as the configuration and all that changes it have it now."""


class Updates:
    """All updates of a device."""

    def __init__(self, device: str, host: Host) -> None:
        """Read what is remembered of them."""
        self.store = Store(device)
        self.host = host
        self._watches: dict[str, Watch] = {}
        self._ways: dict[str, Steps] = {}
        self._chores: set[asyncio.Future[Any]] = set()

    def of(self, name: str) -> Update | None:
        """Return what is remembered of a pipeline."""
        return self.store.updates.get(name)

    def watch(self, name: str) -> Watch:
        """Return who watches a pipeline's workers; there is one, however often it starts anew."""
        return self._watches.setdefault(name, Watch(name, self))

    def applied(self, name: str, written: Pipeline) -> Pipeline:
        """Return the YAML's pipeline with the model that serves."""
        update = self.of(name)
        release = update.serving if update is not None else None
        if release is None or update is None or update.written != written_digest(written):
            return written
        with suppress(ModelError):
            return with_release(written, release, self.store.place(release.digest))
        return written

    def options(self, name: str) -> Pipeline:
        """Return a pipeline as it shall run now."""
        return self.steered(name, self.applied(name, self.host.device.pipelines[name]))

    def steered(self, name: str, pipeline: Pipeline) -> Pipeline:
        """Return a pipeline with what commands have changed of it."""
        return self.host.steering.applied(name, pipeline)

    def options_now(self, name: str) -> Pipeline | None:
        """Return a pipeline as it shall run now, None where it runs so already."""
        if name not in self.host.device.pipelines:
            return None  # it is about to end
        wanted, pipeline = self.options(name), self.host.pipelines.get(name)
        return None if pipeline is None or pipeline.options == wanted else wanted

    def info(self, name: str) -> UpdateInfo | None:
        """Return what the info message says of a pipeline's updates."""
        update, steps = self.of(name), self._ways.get(name)
        return None if update is None else update_info(update, steps and steps.progress)

    # What is remembered

    def remember(self, name: str, update: Update) -> str:
        """Write a record, to last a power cut; return why not, where it cannot be."""
        try:
            self.store.write({**self.store.updates, name: update})
        except OSError as error:
            return f"{error.filename or self.store.folder}: {error.strerror or error}"
        self.host.outlet.changed()
        return ""

    def take_over(self, name: str, update: Update) -> str:
        """Act on a record even where it cannot be written; return why it cannot."""
        trouble = self.remember(name, update)
        if trouble:
            self.store.updates[name] = update
            self.host.outlet.changed()
        return trouble

    def follow(self, pipelines: Mapping[str, Pipeline], *, starting: bool = False) -> None:
        """Forget what no longer holds by the YAML, and see to what a dead daemon left undone.

        To be called before the pipelines are started.
        """
        if self.store.trouble:
            self.tell("updates_lost", self.store.trouble, level=logging.ERROR)
            self.store.trouble = ""
        kept: dict[str, Update] = {}
        for name, update in self.store.updates.items():
            if name not in pipelines or update.written != written_digest(pipelines[name]):
                self._dropped(name, update, known=name in pipelines)
            else:
                whole = self._with_what_is_there(name, update)
                kept[name] = self._found(name, whole) if starting else whole
        if kept != self.store.updates:
            try:
                self.store.write(kept)
            except OSError as error:
                self.store.updates = kept
                log(logging.WARNING, "not_remembered", str(error))

    def _dropped(self, name: str, update: Update, *, known: bool) -> None:
        if (steps := self._ways.pop(name, None)) is not None:
            steps.cancel()
        if not update.releases and update.phase == "none":
            return
        why = "the YAML has another model now, and that is heard" if known else "it has gone"
        self.tell(
            "update_dropped",
            f"{name} has no model from over the air any more: {why}",
            pipeline=name if known else None,
        )

    def _with_what_is_there(self, name: str, update: Update) -> Update:
        """Return the record without models that are not on disk any more."""
        found = update
        if update.former is not None and self.store.missing(update.former):
            found = found.model_copy(update={"former": None})
        if update.candidate is not None and (why := self.store.missing(update.candidate)):
            found = self._over(name, found, why)
        if update.good is not None and (why := self.store.missing(update.good)):
            found = found.gone_back(why, clock.utc())
            self.tell(
                "update_rolled_back", f"{update.good.title}: {why}", pipeline=name, why=why
            )
        return found

    def _found(self, name: str, update: Update) -> Update:
        """Return the record that this start of the daemon goes on with."""
        if update.phase in ("none", "probation"):
            return update  # starts on probation are counted where they are made
        if update.starts >= MOST_RESUMED:
            times = f"the daemon ended {update.starts + 1} times while it was in this step"
            return self._over(name, update, f"{times} ({update.phase})")
        self.tell(
            "update_resumed",
            f"the daemon was ended in the step `{update.phase}`: it is gone on with",
            pipeline=name,
            phase=update.phase,
            model=update.title,
        )
        return update.counted(update.starts + 1)

    def _over(self, name: str, update: Update, why: str) -> Update:
        """Return the record of an update that is over because of `why`, and tell it."""
        tried = update.phase in ("shadow", "probation")
        event = "update_rolled_back" if tried else "update_refused"
        self.tell_end(event, name, update, why)
        return update.ended("rolled_back" if tried else "refused", why, clock.utc())

    # While the daemon runs

    def go_on(self) -> None:
        """Go on with what is under way; to be called once the pipelines are started."""
        for name, update in self.store.updates.items():
            if update.phase != "none" and name not in self._ways:
                self._begin(name)
        self._sweep()

    def _begin(self, name: str) -> None:
        steps = self._ways[name] = Steps(name, self)
        steps.task.add_done_callback(lambda _: self._ended(name, steps))

    def _ended(self, name: str, steps: Steps) -> None:
        if self._ways.get(name) is steps:
            del self._ways[name]
        if not steps.task.cancelled():
            if error := steps.task.exception():
                log(logging.ERROR, "update_failed", f"{type(error).__name__}: {error}")
            self._sweep()

    def _sweep(self) -> None:
        self._soon(asyncio.to_thread(self.store.sweep))

    def _soon(self, work: Any) -> None:
        chore = asyncio.ensure_future(work)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def wake(self, name: str) -> None:
        """Have the update under way look at its pipeline now."""
        if (steps := self._ways.get(name)) is not None:
            steps.look.set()

    def back_before_start(self, name: str, why: str, **evidence: Any) -> None:
        """Take back a model on probation while no worker runs: the next starts with the good one."""
        update = self.store.updates[name]
        ended = update.ended("rolled_back", why, clock.utc())
        trouble = self.take_over(name, ended)
        self.watch(name).forget()
        self.tell_end("update_rolled_back", name, update, why, trouble=trouble, **evidence)
        self.wake(name)

    def damaged(self, name: str, release: Release) -> None:
        """Do without a model whose file is not what was fetched."""
        update = self.store.updates[name]
        why = f"{release.model} is not the file any more that was fetched: the disk has damaged it"
        if update.phase == "probation":
            self.back_before_start(name, why)
        else:
            trouble = self.take_over(name, update.gone_back(why, clock.utc()))
            self.tell_end("update_rolled_back", name, update, why, title=release.title, trouble=trouble)
        self._soon(self._restart(name))

    async def _restart(self, name: str) -> None:
        async with self.host.changing:
            if name in self.host.pipelines:
                await self.host.restart(name)

    async def close(self) -> None:
        """End what is under way, to be gone on with at the next start; pipelines have ended."""
        for steps in self._ways.values():
            steps.cancel()
        ways = [steps.task for steps in self._ways.values()]
        await asyncio.gather(*ways, *self._chores, return_exceptions=True)
        # A start that ended in order says nothing against a model.
        for name, update in list(self.store.updates.items()):
            if update.phase != "none" and update.starts and not self.watch(name).died_of:
                self.remember(name, update.counted(update.starts - 1))

    # Commands

    async def update(self, request: UpdateModel) -> str:
        """Begin an update; return what was begun. Raises RequestError where it cannot be."""
        name, device = request.pipeline, self.host.device
        written = device.pipelines[name]
        if not device.updates.keys:
            raise RequestError("no model is taken over the air: `updates.keys` of the YAML is empty")
        if not device.updates.may_fetch(request.card):
            raise RequestError(f"`card`: {shown(request.card)} is not below `updates.fetch_from`")
        if why := cannot_be_updated(written):
            raise RequestError(f"{name} cannot be updated over the air: {why}")
        try:
            device.updates.public_keys()
            canary = Canary.model_validate(written.canary.model_dump() | (request.canary or {}))
        except ConfigError as error:
            raise RequestError(str(error)) from None
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in found["loc"])
            raise RequestError(f"`canary.{shown(where)[1:]}: {found['msg']}") from None
        update = self.of(name) or Update(written=written_digest(written))
        if update.phase != "none":
            if update.card == request.card:
                return f"{name} is at it already, in the step `{update.phase}`"
            raise RequestError(
                f"{name} has an update under way ({update.title}, in the step `{update.phase}`): "
                "`rollback-model` ends it"
            )
        if self.host.pipelines[name].state in ("ended", "stopped"):
            raise RequestError(f"{name} has ended")
        if why := self.remember(name, update.begun(request.card, canary)):
            raise RequestError(f"it cannot be remembered: {why}")
        self._begin(name)
        return f"{name}: {shown(request.card)} is fetched; events tell what becomes of it"

    def promote(self, name: str) -> str:
        """Have the model in the shadow serve. Raises RequestError where there is none."""
        update, steps = self.of(name), self._ways.get(name)
        if update is None or steps is None or update.phase == "none":
            raise RequestError(f"{name} has no update under way")
        if update.phase == "probation":
            return f"{update.title} serves already, on probation"
        if update.phase != "shadow":
            raise RequestError(f"{update.title} is not in the shadow yet: `{update.phase}`")
        steps.promote()
        return f"{update.title} is promoted"

    async def rollback(self, name: str) -> str:
        """End the update under way, or go back to the model before the good one."""
        update, steps = self.of(name), self._ways.get(name)
        if update is None or (update.phase == "none" and update.good is None):
            raise RequestError(f"{name} runs the YAML's model, and no update is under way")
        if update.phase != "none":
            if steps is not None:
                steps.abandon("by command")
            return f"{update.title} is given up, in the step `{update.phase}`"
        why = "by command"
        trouble = self.take_over(name, update.gone_back(why, clock.utc()))
        title = update.good.title if update.good is not None else ""
        self.tell_end("update_rolled_back", name, update, why, title=title, trouble=trouble)
        self._soon(self._swap_back(name))
        former = update.former.title if update.former is not None else "the YAML's model"
        return f"{name} goes back from {title} to {former}"

    async def _swap_back(self, name: str) -> None:
        async with self.host.changing:
            await self.serve_good(name)
        self._sweep()

    async def serve_good(self, name: str) -> dict[str, Any]:
        """Have a pipeline run what it should, between two frames or by a restart; say how it went.

        Who calls holds `changing`.
        """
        raise NotImplementedError

    def tell_end(
        self,
        event: Any,
        name: str,
        update: Update,
        why: str,
        *,
        title: str = "",
        trouble: str = "",
        **evidence: Any,
    ) -> None:
        """Tell how an update ended that did not end well."""
        title = title or update.title
        words = f"{title}: {why}"
        if trouble:
            words += f"; a restart will not remember it: {trouble}"
        serving = update.good.title if update.good is not None else "the YAML's model"
        self.tell(
            event,
            words,
            pipeline=name,
            level=logging.WARNING,
            model=title,
            phase=update.phase,
            why=why,
            serving=serving,
            **evidence,
        )

    def tell(
        self,
        event: Any,
        message: str,
        *,
        pipeline: str | None = None,
        level: int = logging.INFO,
        **details: Any,
    ) -> None:
        """Tell of an event."""
        self.host.outlet.tell(event, message, pipeline=pipeline, level=level, **details)
