"""Imports what the extra `workshop` brings: late, quietly, and with one sentence where it lacks."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "pip install 'edge-runtime[workshop]'"


def tensorflow() -> Any:
    """Return TensorFlow, with its chatter turned off. Raises ConfigError where it lacks."""
    # Read by its C++ as it is loaded: without this it tells of its thread pools and instructions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        with quiet():
            bring("tensorflow").get_logger().setLevel(logging.ERROR)
            bring("absl.logging").set_verbosity("error")
    return sys.modules["tensorflow"]


def bring(module: str) -> Any:
    """Return a module of the extra. Raises ConfigError, with how to install it, where it lacks."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the workshop's packages are not installed ({error.name} lacks): `{INSTALL}`, on a "
            "desktop: a device never needs them"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be heard of what C++ writes to standard error, or Python to standard output.

    Python's own standard error goes where it went: a bar there moves on.
    """
    sys.stderr.flush()
    heard, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(heard, "w", buffering=1, closefd=False) as ours, open(os.devnull, "w") as null:  # noqa: PTH123
        try:
            os.dup2(nowhere, 2)
            with (
                contextlib.redirect_stderr(ours),
                contextlib.redirect_stdout(null),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                yield
        finally:
            os.dup2(heard, 2)
            os.close(nowhere)
    os.close(heard)
