"""The command line of a model's recipe: its options, what it writes and how it fails."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import EdgeError
from edge.workshop.card import File, check_out, write_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run_recipe(
    name: str,
    about: str | None,
    make: Callable[[int, bool], tuple[dict[str, Any], dict[str, File]]],
    argv: Sequence[str] | None = None,
) -> int:
    """Make a model's card and files from a seed, in a short form or in full; return the status.

    The folder, models/NAME unless told otherwise, is written whole at the end or not at all.
    """
    parser = argparse.ArgumentParser(prog=f"python -m edge.workshop.{name}", description=about)
    parser.add_argument(
        "--out", type=Path, default=Path("models") / name, metavar="FOLDER", help="what it writes"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of data and training")
    parser.add_argument("--short", action="store_true", help="a trial: less data, less training")
    arguments = parser.parse_args(argv)
    try:
        check_out(arguments.out)
        card, files = make(arguments.seed, arguments.short)
        write_folder(arguments.out, card, files)
    except EdgeError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted, nothing was written", file=sys.stderr)
        return 130
    size_bytes = sum(len(file.data) for file in files.values() if file.role == "model")
    print(f"{arguments.out}: {size_bytes:,} bytes; what it can do is in its README.md")
    return 0


def command_of(name: str, seed: int, *, short: bool) -> str:
    """Return the command that makes the same again, for the card."""
    return f"python -m edge.workshop.{name} --seed {seed}" + (" --short" if short else "")
