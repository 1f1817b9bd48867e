"""`edge run`: the daemon."""

import argparse
from pathlib import Path


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the daemon on a device YAML",
        description="Runs the pipelines of a device YAML until SIGTERM or SIGINT, or until all "
        "their sources have ended. SIGHUP reads the YAML again.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the device YAML")
    parser.add_argument("--broker", metavar="URL", help="publish there, whatever the YAML says")
    parser.add_argument("--max-seconds", type=float, metavar="N", help="end after N seconds")
    parser.add_argument(
        "--max-frames", type=int, metavar="N", help="end each pipeline after N results"
    )
    parser.add_argument("--verbose", action="store_true", help="log what the engines say, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the daemon to its end."""
    from edge.errors import ConfigError, EdgeError
    from edge.supervisor.notify import notify
    from edge.supervisor.process import worker_ahead
    from edge.supervisor.restarts import Restarts
    from edge.supervisor.status_line import in_one_line

    for option in ("max_seconds", "max_frames"):
        value = getattr(args, option)
        if value is not None and not value > 0:
            raise ConfigError(f"--{option.replace('_', '-')} must be more than 0, not {value}")
    restarts = Restarts()
    if not restarts.wait():
        return 0
    try:
        with worker_ahead():
            status = _run(args)
    except EdgeError as error:
        notify(f"STATUS={in_one_line(str(error))}")
        if error.exit_status == ConfigError.exit_status:
            restarts.ended_well()  # systemd waits for somebody to correct it
        raise
    if status == 0:
        restarts.ended_well()
    return status


def _run(args: argparse.Namespace) -> int:
    import asyncio

    from edge.config.load import load
    from edge.config.mqtt import parse_broker
    from edge.errors import ConfigError
    from edge.supervisor import log
    from edge.supervisor.daemon import Daemon

    if args.broker is not None:
        try:
            parse_broker(args.broker)
        except ValueError as error:
            raise ConfigError(f"--broker: {error}") from None
    daemon = Daemon(
        lambda: load(args.config),
        broker=args.broker,
        max_seconds=args.max_seconds,
        max_frames=args.max_frames,
    )
    log.start(verbose=args.verbose)
    return asyncio.run(daemon.run())
