"""Imports what the extra `workshop` brings: late, quietly, and with one sentence where it lacks."""

from __future__ import annotations

import contextlib
import importlib
import io
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
    if sys.modules.get("tensorflow") is None:
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
    """Let nothing be heard of what libraries print, Python's and C++'s alike, nor their warnings.

    A bar on standard error stands still meanwhile.
    """
    sys.stderr.flush()
    heard, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    deaf = _Deaf()
    try:
        os.dup2(nowhere, 2)
        with (
            contextlib.redirect_stderr(deaf),
            contextlib.redirect_stdout(deaf),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(heard, 2)
        os.close(heard)
        os.close(nowhere)


class _Deaf(io.TextIOBase):
    """A stream that keeps nothing, and stays open for a thread that still holds it."""

    def write(self, text: str) -> int:
        return len(text)
