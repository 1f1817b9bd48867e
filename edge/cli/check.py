"""`edge check`: everything about a device YAML that can be known without running it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import CacheError, ConfigError, DecodeError, EdgeError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    from edge.config.load import load, read_document, read_password
    from edge.config.problems import Problem, in_lines

    device = load(args.config)
    document = read_document(args.config)
    found: list[tuple[Place, str]] = []
    try:
        read_password(device.mqtt)
    except ConfigError as error:
        found.append((("mqtt", "password_file"), str(error).partition(": ")[2]))
    described = []
    for name, pipeline in device.pipelines.items():
        place: Place = ("pipelines", name)
        missing = list(_missing(pipeline))
        found += [((*place, *where), what) for where, what in missing]
        if not any(where[0] == "model" for where, _ in missing):
            try:
                described.append(f"pipeline {name}: {_try(device.device, name, pipeline)}")
            except EdgeError as error:
                found.append(((*place, *_to_blame(error)), str(error)))
    if found:
        problems = [Problem(document.line_of(place), place, what) for place, what in found]
        raise ConfigError(in_lines(problems, str(args.config)))
    print(f"{args.config}: ok, device {device.device}, broker {device.mqtt.broker}")
    print("\n".join(described))
    return 0


def _missing(pipeline: "Pipeline") -> "Iterator[tuple[Place, str]]":
    """Tell which of the files it names are not there."""
    for name, source in pipeline.all_sources.items():
        try:
            source.verify()
        except EdgeError as error:
            yield ("source",) if pipeline.source is not None else ("sources", name), str(error)
    model = pipeline.model
    for field, path in (("path", model.path), ("labels", model.labels)):
        if isinstance(path, Path) and not path.exists():
            yield ("model", field), f"{path}: there is no such file"


def _to_blame(error: EdgeError) -> "Place":
    """Return the field of a pipeline that an error of its worker is about."""
    fields: dict[type[EdgeError], Place] = {
        EngineError: ("model", "engine"),
        DecodeError: ("decode",),
        CacheError: ("cache", "mode"),
        ConfigError: ("model", "labels"),
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
    return (
        f"{sources} -> {pipeline.model.path.name} "
        f"({', '.join(ready.inputs)} -> {', '.join(ready.outputs)}) on "
        f"{in_words(f'{ready.engine} {ready.engine_version}', ready.threads)} "
        f"({ready.engine_reason}) -> {pipeline.decode.type}, deadline "
        f"{pipeline.deadline_ms:g} ms{cache}"
    )
