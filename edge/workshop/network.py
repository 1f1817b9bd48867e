"""Opens a Keras network: a .keras file, whose code is never run, or an .h5 of old."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError, ModelError
from edge.workshop.framework import quiet, tensorflow

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".keras", ".h5")


def load_network(path: Path) -> Any:
    """Return the network of a .keras file, uncompiled.

    Raises ConfigError where there is no such file, ModelError where it cannot be read, where it
    holds Python code (a Lambda: Keras's safe mode refuses it) or takes more than one input.
    """
    check_network_file(path)
    keras = tensorflow().keras
    try:
        with quiet():
            network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # damage and foreign code have many names
        raise ModelError(f"{path}: {_cause(str(error))}") from error
    if len(network.inputs) != 1:
        raise ModelError(
            f"{path}: takes {len(network.inputs)} inputs; only models with one can be run"
        )
    shape = network.inputs[0].shape
    if None in shape[1:]:
        raise ModelError(f"{path}: its input {list(shape)} is of open size: give it a fixed one")
    return network


def check_network_file(path: Path) -> None:
    """Raise ConfigError where it cannot be a Keras network, before anything heavy is loaded."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file")
    if path.suffix == ".tflite":
        raise ConfigError(
            f"{path}: is a converted model, which cannot be trained: name the .keras file that it "
            "was made from"
        )
    if path.is_dir() or path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: is no Keras network; name a .keras file")


def _cause(said: str) -> str:
    if re.search("unsafe|lambda", said, re.IGNORECASE):
        return (
            "holds Python code (a Lambda layer or function), which is never run from a file: build "
            "the network of Keras's own layers"
        )
    if "not a zip file" in said or "File not found" in said or "Bad magic" in said:
        return "is no .keras file, or is cut off; copy or save it again"
    if found := re.search(r"Could not locate (?:class|function) '(\w+)'", said):
        return (
            f"uses {found[1]}, which is none of Keras's own, and whose code is not in the file: "
            "build the network of Keras's own layers"
        )
    return f"cannot be opened by Keras: {_line(said)}"


def _line(said: str) -> str:
    return " ".join(said.split())[:300]
