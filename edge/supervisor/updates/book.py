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
    from edge.supervisor.updates.records import Ending, Release, Update


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
    """The records of all pipelines: what is written in it is on disk before it is acted on."""

    def __init__(self, device: str, host: Host) -> None:
        """Read what is remembered."""
        self.store = Store(device)
        self.host = host

    def of(self, name: str) -> Update | None:
        """Return what is remembered of a pipeline."""
        return self.store.updates.get(name)

    def remember(self, name: str, update: Update) -> str:
        """Write a record, to last a power cut; return why not, and then all is as it was."""
        try:
            self.store.write({**self.store.updates, name: update})
        except OSError as error:
            return f"{error.filename or self.store.folder}: {error.strerror or error}"
        self.host.outlet.changed()
        return ""

    def end(self, ending: Ending, name: str, update: Update, why: str, **evidence: Any) -> None:
        """End an update, remember it, and tell it. What cannot be written holds all the same."""
        self._over(name, update, update.ended(ending, why, clock.utc()), why, evidence)

    def keep(self, name: str, update: Update, title: str) -> None:
        """End an update whose model is the good one already, and tell it."""
        now = update.kept(title, clock.utc())
        self._over(name, update, now, "it serves already", {})

    def go_back(self, name: str, update: Update, why: str) -> None:
        """Give up the good model for the one before it, and tell it."""
        self._over(name, update, update.gone_back(why, clock.utc()), why, {})

    def _over(
        self, name: str, before: Update, now: Update, why: str, evidence: dict[str, Any]
    ) -> None:
        trouble = self.remember(name, now)
        if trouble:
            self.store.updates[name] = now
            self.host.outlet.changed()
        last = now.last
        assert last is not None  # noqa: S101  it has just ended
        words = why if why.startswith(last.title) else f"{last.title}: {why}"
        if trouble:
            words += f"; a restart will not remember it: {trouble}"
        good = last.ending == "good"
        self.host.outlet.tell(
            _EVENTS[last.ending],
            words,
            pipeline=name,
            level=logging.INFO if good else logging.WARNING,
            model=last.title,
            step=before.phase,
            why=why,
            serving=now.serving.title if now.serving is not None else None,
            **evidence,
        )

    # Which model a pipeline runs

    def options_of(self, name: str) -> Pipeline | None:
        """Return a pipeline as it shall run now; None where it is no more."""
        written, update = self.host.device.pipelines.get(name), self.of(name)
        if written is None:
            return None
        release = update.serving if update is not None else None
        if update is not None and update.written == written_digest(written):
            with suppress(ModelError):  # it did fit when it was tried
                return self.with_model(name, release)
        return self.host.steering.applied(name, written.as_run)

    def with_model(self, name: str, release: Release | None) -> Pipeline:
        """Return a pipeline as it would run with a model; None is the YAML's.

        Raises ModelError where they do not fit together.
        """
        folder = self.store.place(release.digest) if release is not None else None
        written = self.host.device.pipelines[name]
        return self.host.steering.applied(name, with_release(written.as_run, release, folder))

    # After a start, and where the YAML was read again

    def follow(self, *, starting: bool) -> None:
        """Forget what no longer holds by the YAML, and take up what a dead daemon left.

        To be called before the pipelines are started. It reads the models that are remembered.
        """
        if self.store.trouble:
            self.host.outlet.tell("updates_lost", self.store.trouble, level=logging.ERROR)
            self.store.trouble = ""
        pipelines = self.host.device.pipelines
        for name, update in list(self.store.updates.items()):
            if name not in pipelines or update.written != written_digest(pipelines[name]):
                self._drop(name, update)
            elif starting:
                self.see_that_all_is_whole(name)
                self._take_up(name)

    def _drop(self, name: str, update: Update) -> None:
        there = name in self.host.device.pipelines
        kept = {key: each for key, each in self.store.updates.items() if key != name}
        try:
            self.store.write(kept)
        except OSError as error:
            self.store.updates = kept
            log(logging.WARNING, "not_remembered", str(error))
        if not update.releases and update.phase == "none":
            return
        why = "its model was changed there" if there else "it is no more"
        self.host.outlet.tell(
            "update_dropped",
            f"{name} follows the YAML again, {why}: what came over the air is let go of",
            pipeline=name if there else None,
            model=update.serving.title if update.serving is not None else None,
            step=update.phase,
        )

    def see_that_all_is_whole(self, name: str) -> None:
        """Do without models that are not on disk as they came; it takes as long as reading them."""
        update = self.of(name)
        if update is None:
            return
        if update.former is not None and self.store.damage(update.former):
            update = update.model_copy(update={"former": None})
        if update.candidate is not None and (why := self.store.damage(update.candidate)):
            self.end(given_up(update), name, update, why)
            update = self.store.updates[name]
        if update.good is not None and (why := self.store.damage(update.good)):
            self.go_back(name, update, why)

    def _take_up(self, name: str) -> None:
        """Count that a start of the daemon has found an update before its promotion.

        Those on probation are counted where a worker is started.
        """
        update = self.store.updates[name]
        if update.phase in ("none", "probation"):
            return
        if update.starts >= MOST_RESUMED:
            why = f"the daemon was ended {update.starts + 1} times in the step `{update.phase}`"
            self.end(given_up(update), name, update, why)
        elif trouble := self.remember(name, update.counted(update.starts + 1)):
            self.end(given_up(update), name, update, f"it cannot be gone on with: {trouble}")
        else:
            self.host.outlet.tell(
                "update_resumed",
                f"{update.title}: the daemon was ended in the step `{update.phase}`, which is gone "
                "on with",
                pipeline=name,
                model=update.title,
                step=update.phase,
            )


def given_up(update: Update) -> Ending:
    """Return what it is called that an update is given up where it stands."""
    return "rolled_back" if update.phase in ("shadow", "probation") else "refused"


_EVENTS: dict[Ending, Any] = {
    "good": "update_good",
    "refused": "update_refused",
    "rolled_back": "update_rolled_back",
}
