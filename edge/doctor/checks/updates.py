"""Models that came over the air: who may sign them, and whether those that are kept are whole."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.errors import ConfigError
from edge.supervisor.updates.candidate import written_digest
from edge.supervisor.updates.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.device import Device
    from edge.doctor.patient import Patient
    from edge.supervisor.updates.records import Update

MANUAL = "see Updates over the air in the README"


class Updates(Check):
    """Whether the keys can be read, and what the store holds."""

    name = "updates"
    group = "service"

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Read the keys and the store; each model that is kept is read whole."""
        if patient.device is None:
            return
        yield from _keys(patient.device)
        folder = patient.state_folder
        if folder is None or not os.access(folder, os.R_OK | os.X_OK):
            return  # `state` tells why
        store = Store(patient.device.device, {"STATE_DIRECTORY": str(folder)}, aside=False)
        for name, update in store.updates.items():
            yield _judge(name, update, store, patient.device)
        if store.trouble:
            says = f"{store.trouble}; the models are those of the YAML"
            yield warning("updates", says, "deploy the models anew")


def _keys(device: Device) -> Iterator[Finding]:
    """Tell whose models are taken; what is wrong with that is told as of the configuration."""
    options = device.updates
    with suppress(ConfigError):
        if keys := [key.id for key in options.public_keys()]:
            places = ", ".join(options.fetch_from)
            says = f"models are taken from {places}, signed by {', '.join(keys)}"
            yield ok("updates", says, keys=keys, fetch_from=options.fetch_from)


def _judge(name: str, update: Update, store: Store, device: Device) -> Finding:
    serving = update.serving
    says = f"{name}: runs " + (serving.title if serving is not None else "the YAML's model")
    facts = {
        "pipeline": name,
        "phase": update.phase,
        "serving": serving.title if serving is not None else None,
    }
    written = device.pipelines.get(name)
    if written is None or written_digest(written) != update.written:
        cure = "nothing, if that is meant: at the next start it is let go of"
        return warning("updates", f"{name}: the YAML has another model by now", cure, **facts)
    for release in update.releases:
        if why := store.damage(release):
            return problem("updates", f"{release.title}: {why}", "deploy it anew", **facts)
    if update.phase != "none":
        says += f"; {update.title} is on its way, in the step {update.phase}"
        return ok("updates", says, **facts)
    last = update.last
    if last is not None and last.ending != "good":
        says += f"; {last.title} was {last.ending.replace('_', ' ')}: {last.why}"
        return warning("updates", says, MANUAL, **facts)
    return ok("updates", says, **facts)
