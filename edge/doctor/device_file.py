"""Everything about a device YAML that can be known without running it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.catalogue.keys import public_key
from edge.config.labels import read_labels
from edge.config.load import broker_access, read_document
from edge.config.problems import Problem, in_lines
from edge.doctor.cpu_build import cpu_build_problems
from edge.errors import (
    CacheError,
    ConfigError,
    DecodeError,
    EdgeError,
    EngineError,
    GoldenError,
    GoldenFileError,
    SignatureError,
)
from edge.supervisor.probing import probe_now
from edge.supervisor.updates.candidate import cannot_be_updated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.config.problems import Place


@dataclass(frozen=True, slots=True)
class LookedThrough:
    """What was found."""

    problems: list[str]
    """What is wrong, `FILE:LINE: FIELD: ...`, in the order of the file."""
    described: list[str]
    """What each pipeline, and each rung of its ladder, is."""
    notes: list[str]
    """What is no mistake, and yet worth a word."""
    without: list[str]
    """Which pipelines would do without their accelerator for now, and why."""
    slow: list[str]
    """What slows down an accelerator that can be used."""


def look_through(path: Path, device: Device) -> LookedThrough:
    """Look at the files that a loaded YAML names, and try each model in a worker.

    Raises ConfigError when the YAML cannot be read a second time.
    """
    document = read_document(path)
    found: list[tuple[Place, str]] = []
    described: list[str] = []
    notes: list[str] = []
    without: list[str] = []
    slow: list[str] = []
    try:
        access = broker_access(device.mqtt)
    except ConfigError as error:
        field, _, what = str(error).partition(": ")
        found.append((tuple(field.split(".")), what))
    else:
        ends = [certificate.warning(time.time()) for certificate in access.certificates]
        notes = [*access.remarks, *filter(None, ends)]
    found += _missing_folders(device)
    found += _unreadable_keys(device)
    notes += _update_notes(device)
    for name, pipeline in device.pipelines.items():
        place: Place = ("pipelines", name)
        found += [((*place, *where), what) for where, what in _missing_sources(pipeline)]
        for where, title, options in _to_try(name, pipeline):
            missing = list(_missing_files(options)) or list(cpu_build_problems(options.model))
            found += [((*place, *where, *field), what) for field, what in missing]
            if missing:
                continue
            usable, trouble, remarks = _as_it_would_run(options)
            if usable is None:
                found.append(((*place, *where, "model", "accelerator"), trouble))
                continue
            slow += [f"{title}: {remark}" for remark in remarks]
            if trouble:
                without.append(f"{title}: {trouble}")
            try:
                described.append(f"{title}: {_try(device.device, name, usable)}")
            except EdgeError as error:
                found.append(((*place, *where, *_to_blame(error, rung=bool(where))), str(error)))
    found += _unknown_labels(device)
    problems = [Problem(document.line_of(place), place, what) for place, what in found]
    told = in_lines(problems, str(path)).splitlines() if problems else []
    return LookedThrough(told, described, notes, without, slow)


def _to_try(name: str, pipeline: Pipeline) -> Iterator[tuple[Place, str, Pipeline]]:
    """Every rung that changes what a worker prepares: its place, a title, the pipeline on it."""
    from edge.config.ladder import pipeline_on_each_rung

    full, *below = pipeline_on_each_rung(pipeline)
    yield (), f"pipeline {name}", full
    for index, options in enumerate(below):
        rung = pipeline.ladder.rungs[index] if pipeline.ladder else None
        if rung is not None and (rung.model or rung.cache):
            yield ("ladder", "rungs", index), f"  rung {rung.name}", options


def _missing_folders(device: Device) -> Iterator[tuple[Place, str]]:
    """Tell which sinks have no folder to write to."""
    for index, sink in enumerate(device.sinks):
        try:
            sink.verify()
        except EdgeError as error:
            yield ("sinks", index, "path"), str(error)


def _unreadable_keys(device: Device) -> Iterator[tuple[Place, str]]:
    """Tell which of the keys that sign models are none."""
    for index, key in enumerate(device.updates.keys):
        try:
            public_key(key)
        except SignatureError as error:
            yield ("updates", "keys", index), str(error)


def _update_notes(device: Device) -> Iterator[str]:
    """Tell what is missing for models to come over the air."""
    if not device.updates.keys:
        return
    if "update-model" not in device.commands.allowed:
        yield "models may come over the air (`updates`), but `commands.allow` has no `update-model`"
    for name, pipeline in device.pipelines.items():
        if why := cannot_be_updated(pipeline):
            yield f"{name}'s model cannot come over the air: {why}"


def _missing_sources(pipeline: Pipeline) -> Iterator[tuple[Place, str]]:
    """Tell which of the files that frames come from are not there."""
    for name, source in pipeline.all_sources.items():
        try:
            source.verify()
        except EdgeError as error:
            yield ("source",) if pipeline.source is not None else ("sources", name), str(error)


def _missing_files(pipeline: Pipeline) -> Iterator[tuple[Place, str]]:
    """Tell which of the model's files are not there."""
    model = pipeline.model
    named = {
        "path": model.path,
        "labels": model.labels,
        "cpu_path": model.cpu_path,
        "golden": model.golden and model.golden.path,
    }
    for field, path in named.items():
        if isinstance(path, Path) and not path.exists():
            yield ("model", field), f"{path}: there is no such file"


def _as_it_would_run(pipeline: Pipeline) -> tuple[Pipeline | None, str, Sequence[str]]:
    """Return a pipeline with its accelerator where that works now, else on the CPU; and why.

    None where it may not run on the CPU. Last stands what is worth a word where it works.
    """
    model = pipeline.model
    if model.accelerator is None:
        return pipeline, "", ()
    probed = probe_now(model)
    if probed.ok:
        model = model.model_copy(update={"engine": probed.engine})
        return pipeline.model_copy(update={"model": model}), "", probed.remarks
    if model.fallback == "none":
        return None, probed.trouble, ()
    return pipeline.model_copy(update={"model": model.on_cpu()}), probed.trouble, ()


def _unknown_labels(device: Device) -> Iterator[tuple[Place, str]]:
    """Tell which of the labels to watch for no prediction can have."""
    for index, watched in enumerate(device.home_assistant.occupancy):
        try:
            labels = read_labels(device.pipelines[watched.pipeline].model.labels)
        except ConfigError:
            continue  # told already
        if labels and watched.label not in labels:
            place: Place = ("home_assistant", "occupancy", index, "label")
            yield place, f"{watched.label!r} is none of the labels of {watched.pipeline}'s model"


def _to_blame(error: EdgeError, *, rung: bool) -> Place:
    """Return the field of a pipeline, or of a rung, that an error of its worker is about."""
    fields: dict[type[EdgeError], Place] = {
        EngineError: ("model", "engine"),
        DecodeError: ("model",) if rung else ("decode",),
        CacheError: ("cache", "mode"),
        ConfigError: ("model", "labels"),
        GoldenError: ("model", "golden"),
        GoldenFileError: ("model", "golden"),
    }
    return fields.get(type(error), ("model", "path"))


def _try(device: str, name: str, pipeline: Pipeline) -> str:
    """Take one pipeline as far as its first frame, in a worker; return a line on what it is."""
    from edge.engines.choose import in_words
    from edge.supervisor.trial import records
    from edge.wire import Ready

    said = records(name, pipeline, device=device, check_only=True)
    (ready,) = [record for record in said if isinstance(record, Ready)]
    sources = ", ".join(
        source.type if pipeline.source is not None else f"{name} ({source.type})"
        for name, source in pipeline.all_sources.items()
    )
    cache = f", cache {pipeline.cache.mode}" if pipeline.cache.mode != "off" else ""
    golden = ""
    if ready.golden is not None:
        golden = ", {vectors:g} golden inputs within {worst_steps:g} steps".format(**ready.golden)
    return (
        f"{sources} -> {pipeline.model.path.name} "
        f"({', '.join(ready.inputs)} -> {', '.join(ready.outputs)}) on "
        f"{in_words(f'{ready.engine} {ready.engine_version}', ready.threads)} "
        f"({ready.engine_reason}) -> {pipeline.decode.type}, deadline "
        f"{pipeline.deadline_ms:g} ms{cache}{golden}"
    )
