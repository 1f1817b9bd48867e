"""The command `edge`: one file a command; each imports late, so that `--help` is instant."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from edge import __version__
from edge.errors import EdgeError

COMMANDS = (
    "run",
    "service",
    "check",
    "doctor",
    "init",
    "infer",
    "golden",
    "inspect",
    "bench",
    "tune",
    "optimize",
    "plan",
    "trace",
    "top",
    "models",
    "demo",
    "publish-frames",
    "schema",
)

EPILOG = """exit status: 0 done, 1 failed at run time, 2 wrong usage or configuration"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Inference on the device itself: int8 TFLite models, deadlines, MQTT.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"edge.cli.{name.replace('-', '_')}").add(subparsers)
    chosen = parser.parse_args(arguments)
    try:
        status = int(chosen.run(chosen))
        sys.stdout.flush()  # here, where a full disk can still be told
    except EdgeError as error:
        lines = str(error).splitlines()
        head = f"{len(lines)} problems\n" if len(lines) > 1 else ""
        print(f"edge {chosen.command}: {head}{error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"edge {chosen.command}: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        # What is still in Python's buffer would fail again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `edge ... | head` needs no word
            where = f" {error.filename}" if error.filename else ""
            print(f"edge {chosen.command}:{where} {error.strerror or error}", file=sys.stderr)
        return 1
    return status
