"""Loads an accelerator's delegate into an engine, and explains why one cannot be had."""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.accelerators.base import Trouble
from edge.errors import AcceleratorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.accelerators.base import AcceleratorOptions, Cause, Step

MODULES = {
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
"""The engines by their name in the YAML, and what Python calls them."""


def load_delegate(
    engine: str, accelerator: AcceleratorOptions, reached: Callable[[Step], None]
) -> Any:
    """Return an accelerator's delegate for an engine, which is installed.

    Raises AcceleratorError with what is wrong and what to do.
    """
    reached("library")
    library = _find_library(accelerator, engine)
    reached("delegate")
    load = importlib.import_module(MODULES[engine]).load_delegate
    try:
        return load(library, accelerator.delegate_options())
    except Exception as error:  # as in Engine: whatever C++ raises
        raise explained(accelerator, "delegate", engine, error) from error


def explained(
    accelerator: AcceleratorOptions,
    step: Step,
    engine: str,
    error: Exception,
    cause: Cause = "failed",
) -> AcceleratorError:
    """Return the error that tells of a trouble with an accelerator."""
    said = " ".join(str(error).split())
    found = accelerator.explain(Trouble(step, engine, said, cause))
    return AcceleratorError(found.message, found.cause)


def _find_library(accelerator: AcceleratorOptions, engine: str) -> str:
    """Return the first of the accelerator's libraries that can be loaded."""
    errors = []
    for name in accelerator.library_names():
        try:
            ctypes.CDLL(name)
        except OSError as error:
            errors.append((name, error))
        else:
            return name
    # One that is there, and yet cannot be loaded, tells more than those that are not.
    name, why = next(((n, e) for n, e in errors if _is_there(n, e)), errors[0])
    cause: Cause = "library_unusable" if _is_there(name, why) else "library_missing"
    raise explained(accelerator, "library", engine, why, cause)


def _is_there(name: str, error: OSError) -> bool:
    """Whether a library exists: the linker's word is about itself where it does not."""
    return Path(name).exists() if "/" in name else not str(error).startswith(name)
