"""`edge check`: everything about a device YAML that can be known without running it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline


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
    from edge.config.load import load, read_password

    device = load(args.config)
    problems = []
    try:
        read_password(device.mqtt)
    except ConfigError as error:
        problems.append(str(error))
    described = []
    for name, pipeline in device.pipelines.items():
        try:
            described.append(f"pipeline {name}: {_check(name, pipeline)}")
        except EdgeError as error:
            problems += [f"{args.config}: pipelines.{name}: {error}"]
    if problems:
        raise ConfigError("\n".join(problems))
    print(f"{args.config}: ok, device {device.device}, broker {device.mqtt.broker}")
    print("\n".join(described))
    return 0


def _check(name: str, pipeline: "Pipeline") -> str:
    """Try one pipeline as far as its first frame; return a line on what it is."""
    from edge.supervisor.trial import records
    from edge.wire import Ready

    problems = []
    try:
        pipeline.source.verify()
    except EdgeError as error:
        problems.append(str(error))
    line = ""
    try:
        for record in records(name, pipeline, check_only=True):
            if isinstance(record, Ready):
                line = (
                    f"{pipeline.source.type} -> {pipeline.model.path.name} "
                    f"({', '.join(record.inputs)} -> {', '.join(record.outputs)}) on "
                    f"{record.engine} {record.engine_version} -> {pipeline.decode.type}, "
                    f"deadline {pipeline.deadline_ms:g} ms"
                )
    except EdgeError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return line
