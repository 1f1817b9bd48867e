"""`edge check`: everything about a device YAML that can be known without running it."""

import argparse
from pathlib import Path

from edge.errors import ConfigError


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
    from edge.config.load import load
    from edge.doctor.device_file import look_through

    device = load(args.config)
    found = look_through(args.config, device)
    if found.problems:
        raise ConfigError("\n".join(found.problems))
    print(f"{args.config}: ok, device {device.device}, broker {device.mqtt.broker}")
    options = device.updates
    if options.keys:
        keys = ", ".join(key.id for key in options.public_keys())
        found.described.append(
            f"updates: signed by {keys}, from {', '.join(options.fetch_from)}, "
            f"up to {options.max_mb:g} MB"
        )
    sinks = [f"sink {sink.type}: {sink.place}" for sink in device.sinks]
    notes = [f"note: {note}" for note in (*found.notes, *found.without, *found.slow)]
    print("\n".join([*found.described, *sinks, *notes]))
    return 0
