"""Loads an accelerator's delegate into an engine, and explains why one cannot be had."""

from __future__ import annotations

import ctypes
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.accelerators.base import Trouble
from edge.accelerators.shared_object import NO_DELEGATE
from edge.engines.delegation import Delegation, delegation, nodes_of
from edge.errors import AcceleratorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.accelerators.base import AcceleratorOptions, Cause, Step
    from edge.engines.model_summary import ModelSummary

MODULES = {
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
"""The engines by their name in the YAML, and what Python calls them."""

DELEGATE = "DELEGATE"
"""What both engines call a delegate's node."""

CREATE = "tflite_plugin_create_delegate"
# What both engines put around the message of a delegate.
AROUND = re.compile(
    r"^Failed to load delegate from \S+\s*|Restored original execution plan after delegate "
    r"application failure\.?|(?<=\S)(?=Node number \d+ \()"
)


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


def refuse_unfit(accelerator: AcceleratorOptions, model: ModelSummary) -> None:
    """Raise AcceleratorError for a model that cannot run on it, as far as its file tells."""
    found = accelerator.unfit(model.path, model.operators)
    if found is not None:
        raise AcceleratorError(found.message, found.cause)


def taken_by_delegate(interpreter: Any) -> Delegation | None:
    """Return which operators the delegate took, before memory is planned.

    None where this version of the engine does not list its nodes.
    """
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None
    nodes = nodes_of(details())
    groups = sum(node.operator == DELEGATE for node in nodes)
    operators = len(nodes) - groups  # they stand first
    results = [detail["index"] for detail in interpreter.get_output_details()]
    return delegation(nodes[:operators], nodes[operators:], results)


def explained(
    accelerator: AcceleratorOptions,
    step: Step,
    engine: str,
    error: Exception | None,
    cause: Cause = "failed",
) -> AcceleratorError:
    """Return the error that tells of a trouble with an accelerator."""
    said = " ".join(AROUND.sub(" ", str(error or "")).split())
    found = accelerator.explain(Trouble(step, engine, said, cause))
    return AcceleratorError(found.message, found.cause)


def _find_library(accelerator: AcceleratorOptions, engine: str) -> str:
    """Return the first of the accelerator's libraries that can be loaded."""
    errors = []
    for name in accelerator.library_names():
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            errors.append((name, error))
        else:
            if not hasattr(library, CREATE):
                raise explained(
                    accelerator, "library", engine, OSError(NO_DELEGATE), "library_unusable"
                )
            return name
    # One that is there, and yet cannot be loaded, tells more than those that are not.
    name, why = next(((n, e) for n, e in errors if _is_there(n, e)), errors[0])
    cause: Cause = "library_unusable" if _is_there(name, why) else "library_missing"
    raise explained(accelerator, "library", engine, why, cause)


def _is_there(name: str, error: OSError) -> bool:
    """Whether a library exists: the linker's word is about itself where it does not."""
    return Path(name).exists() if "/" in name else not str(error).startswith(name)
