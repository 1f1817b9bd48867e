"""What is remembered of a device's updates, and which model each pipeline runs by it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from edge.errors import ModelError
from edge.supervisor import clock
from edge.supervisor.log import log
from edge.supervisor.updates.candidate import with_release, written_digest
from edge.supervisor.updates.records import MOST_RESUMED
from edge.supervisor.updates.store import Store

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.supervisor.steering import Steering
    from edge.supervisor.updates.records import Release, Update


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


class Book:
    """The records of all pipelines; what is written in it is on disk before it is acted on."""

    def __init__(self, device: str, host: Host) -> None:
        """Read what is remembered."""
        self.store = Store(device)
        self.host = host

    @property
    def updates(self) -> Mapping[str, Update]:
        """The records by the names of their pipelines."""
        return self.store.updates

    def of(self, name: str) -> Update | None:
        """Return what is remembered of a pipeline."""
        return self.store.updates.get(name)

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
        """Return a pipeline as it shall run now, with what commands have changed of it."""
        applied = self.applied(name, self.host.device.pipelines[name])
        return self.host.steering.applied(name, applied)

    def options_now(self, name: str) -> Pipeline | None:
        """Return a pipeline as it shall run now, None where it runs so already."""
        if name not in self.host.device.pipelines:
            return None  # it is about to end
        wanted, pipeline = self.options(name), self.host.pipelines.get(name)
        return None if pipeline is None or pipeline.options == wanted else wanted

    def with_model(self, name: str, release: Release | None) -> Pipeline:
        """Return a pipeline as it would run with a model; None is the YAML's.

        Raises ModelError where they do not fit together.
        """
        folder = self.store.place(release.digest) if release is not None else None
        written = self.host.device.pipelines[name]
        return self.host.steering.applied(name, with_release(written, release, folder))

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
        for name, update in self.updates.items():
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
            self.tell("update_rolled_back", f"{update.good.title}: {why}", pipeline=name, why=why)
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
