"""`edge optimize`: from a trained network to a small one, on a desktop; a file a sub-command."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

STEPS = ("quantize", "prune", "distill", "compare")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and its sub-commands."""
    parser = subparsers.add_parser(
        "optimize",
        help="make a model smaller and say what that cost (on a desktop)",
        description="The model workshop: each of its commands writes a model's folder, with a card "
        "that says how it was made and what was measured. It needs the extra `workshop`.",
    )
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name in STEPS:
        importlib.import_module(f"edge.cli.{name}").add(steps)
