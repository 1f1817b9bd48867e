"""`edge check`: everything about a device YAML that can be known without running it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import (
    CacheError,
    ConfigError,
    DecodeError,
    EdgeError,
    EngineError,
    GoldenError,
    GoldenFileError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.config.problems import Place


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a device YAML without running it",
        description="Checks syntax, every field, the files named, that each model opens (in a "
        "process of its own), and that its input, output and labels fit.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the device YAML")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is wrong, all of it, or what the pipelines are."""
    import time

    from edge.config.load import broker_access, load, read_document
    from edge.config.problems import Problem, in_lines

    device = load(args.config)
    document = read_document(args.config)
    found: list[tuple[Place, str]] = []
    described: list[str] = []
    notes: list[str] = []
    try:
        access = broker_access(device.mqtt)
    except ConfigError as error:
        field, _, what = str(error).partition(": ")
        found.append((tuple(field.split(".")), what))
    else:
        ends = [certificate.warning(time.time()) for certificate in access.certificates]
        notes = [*access.remarks, *filter(None, ends)]
    found += _missing_folders(device)
    for name, pipeline in device.pipelines.items():
        place: Place = ("pipelines", name)
        found += [((*place, *where), what) for where, what in _missing_sources(pipeline)]
        for where, title, options in _to_try(name, pipeline):
            missing = list(_missing_files(options))
            found += [((*place, *where, *field), what) for field, what in missing]
            if missing:
                continue
            try:
                described.append(f"{title}: {_try(device.device, name, options)}")
            except EdgeError as error:
                found.append(((*place, *where, *_to_blame(error, rung=bool(where))), str(error)))
    found += _unknown_labels(device)
    if found:
        problems = [Problem(document.line_of(place), place, what) for place, what in found]
        raise ConfigError(in_lines(problems, str(args.config)))
    print(f"{args.config}: ok, device {device.device}, broker {device.mqtt.broker}")
    described += [f"sink {sink.type}: {sink.place}" for sink in device.sinks]
    print("\n".join([*described, *(f"note: {note}" for note in notes)]))
    return 0


def _to_try(name: str, pipeline: "Pipeline") -> "Iterator[tuple[Place, str, Pipeline]]":
    """Every rung that changes what a worker prepares: its place, a title, the pipeline on it."""
    from edge.config.ladder import pipeline_on_each_rung

    full, *below = pipeline_on_each_rung(pipeline)
    yield (), f"pipeline {name}", full
    for index, options in enumerate(below):
        rung = pipeline.ladder.rungs[index] if pipeline.ladder else None
        if rung is not None and (rung.model or rung.cache):
            yield ("ladder", "rungs", index), f"  rung {rung.name}", options


def _missing_folders(device: "Device") -> "Iterator[tuple[Place, str]]":
    """Tell which sinks have no folder to write to."""
    for index, sink in enumerate(device.sinks):
        try:
            sink.verify()
        except EdgeError as error:
            yield ("sinks", index, "path"), str(error)


def _missing_sources(pipeline: "Pipeline") -> "Iterator[tuple[Place, str]]":
    """Tell which of the files that frames come from are not there."""
    for name, source in pipeline.all_sources.items():
        try:
            source.verify()
        except EdgeError as error:
            yield ("source",) if pipeline.source is not None else ("sources", name), str(error)


def _missing_files(pipeline: "Pipeline") -> "Iterator[tuple[Place, str]]":
    """Tell which of the model's files are not there."""
    model = pipeline.model
    golden = model.golden and model.golden.path
    for field, path in (("path", model.path), ("labels", model.labels), ("golden", golden)):
        if isinstance(path, Path) and not path.exists():
            yield ("model", field), f"{path}: there is no such file"


def _unknown_labels(device: "Device") -> "Iterator[tuple[Place, str]]":
    """Tell which of the labels to watch for no prediction can have."""
    from edge.worker.prepare import read_labels

    for index, watched in enumerate(device.home_assistant.occupancy):
        try:
            labels = read_labels(device.pipelines[watched.pipeline].model.labels)
        except ConfigError:
            continue  # told already
        if labels and watched.label not in labels:
            place: Place = ("home_assistant", "occupancy", index, "label")
            yield place, f"{watched.label!r} is none of the labels of {watched.pipeline}'s model"


def _to_blame(error: EdgeError, *, rung: bool) -> "Place":
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


def _try(device: str, name: str, pipeline: "Pipeline") -> str:
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
