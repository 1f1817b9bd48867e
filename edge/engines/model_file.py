"""Reads a .tflite file without an interpreter, and says in one sentence what is wrong with it.

Never imported by the supervisor: a model is untrusted and is opened in a worker or a command.
"""

from __future__ import annotations

import codecs
import re
import stat
from typing import TYPE_CHECKING

from edge.engines.model_graph import (
    EDGETPU_OPERATOR,
    LITERT_CUSTOM_OPERATORS,
    Contents,
    Damage,
    summarize,
)
from edge.engines.model_summary import ModelSummary, TensorSummary
from edge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "ModelSummary",
    "TensorSummary",
    "cpu_build_beside",
    "explain_load_failure",
    "read_model_file",
]

# The file is read whole, so this bounds memory; models for small devices are far below.
MAX_MODEL_BYTES = 512 << 20

_IDENTIFIER, _IDENTIFIER_AT = b"TFL3", 4
_AGAIN = "copy or download it again"

_MAX_MESSAGE = 300
_MAX_NAMES = 5

# What people have in hand instead of a model: (how it begins, what it is, what to do).
_OTHER_KINDS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the model", "run `git lfs pull`"),
    (b"<!doctype", "is a web page, not a TFLite model", "download the file itself"),
    (b"<html", "is a web page, not a TFLite model", "download the file itself"),
    (b"pk\x03\x04", "is a zip archive, not a TFLite model", "unpack it and name the .tflite in it"),
    (b"\x1f\x8b", "is a gzip archive, not a TFLite model", "unpack it and name the .tflite in it"),
    (b"\x89hdf", "is a Keras model (HDF5), not a TFLite model", "convert it to TFLite first"),
)


def read_model_file(path: Path) -> ModelSummary:
    """Return what the file says about itself.

    Raises ModelError, and nothing else, for whatever is not a whole TFLite model.
    """
    contents = _read(path)
    if not contents.startswith(_IDENTIFIER, _IDENTIFIER_AT):
        raise ModelError(f"{path}: {_instead_of_a_model(contents)}")
    try:
        return summarize(contents, path)
    except Damage as damage:
        raise ModelError(f"{path}: {damage}; {damage.cure}") from damage


def explain_load_failure(path: Path, engine_message: str) -> str:
    """Return one sentence, `PATH: cause; cure`, for a model that an interpreter refused.

    `engine_message` is the text of the interpreter's exception; where neither it nor the file
    names a known cause, it is passed on as one line.
    """
    try:
        summary = read_model_file(path)
    except ModelError as error:
        return str(error)
    return f"{path}: {_cause(summary, _one_line(engine_message))}"


def cpu_build_beside(path: Path) -> str:
    """Say which file to use in place of a build for the Edge TPU."""
    name = path.name.replace("_edgetpu", "")
    if name != path.name and path.with_name(name).is_file():
        return f"the model's CPU build, which is beside it: {path.with_name(name)}"
    return "the model's CPU build, the file without `_edgetpu`"


def _read(path: Path) -> Contents:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path}: is a directory, not a model; name the .tflite file in it")
        if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for ever
            raise ModelError(f"{path}: is not a regular file; name a .tflite file")
        if status.st_size > MAX_MODEL_BYTES:
            raise ModelError(
                f"{path}: is {status.st_size >> 20} MB, and models over {MAX_MODEL_BYTES >> 20} MB "
                "are not read; use a smaller model"
            )
        contents = Contents(status.st_size)
        with path.open("rb") as file:
            read_bytes = file.readinto(contents)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path}: there is no such file; check the path") from error
    except PermissionError as error:
        raise ModelError(
            f"{path}: may not be read by this user; change its owner or its mode"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{path}: cannot be read ({reason}); check the path and the disk"
        ) from error
    except MemoryError as error:
        raise ModelError(
            f"{path}: does not fit into this machine's memory; use a smaller model"
        ) from error
    if read_bytes < len(contents):
        raise ModelError(f"{path}: became shorter while it was read; try again once it is written")
    return contents


def _instead_of_a_model(contents: Contents) -> str:
    if not contents:
        return f"is empty; {_AGAIN}"
    start = bytes(memoryview(contents)[:512])
    for beginning, what, cure in _OTHER_KINDS:
        if start.lstrip().lower().startswith(beginning):
            return f"{what}; {cure}"
    if _is_text(start):
        return "is a text file, not a TFLite model; name the .tflite file"
    if len(contents) < _IDENTIFIER_AT + len(_IDENTIFIER):
        return f"is only {len(contents)} bytes long and so no TFLite model; {_AGAIN}"
    return f"is not a TFLite model (bytes 4 to 8 are not `TFL3`); name a .tflite file or {_AGAIN}"


def _is_text(start: bytes) -> bool:
    try:  # incremental: the last character may be cut in two
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char.isspace() for char in text)


def _cause(summary: ModelSummary, said: str) -> str:
    if summary.edgetpu:
        return (
            f"is compiled for the Edge TPU (it holds the operator {EDGETPU_OPERATOR}) and needs "
            "`accelerator: edgetpu`; on the CPU, and as its `cpu_path`, use "
            f"{cpu_build_beside(summary.path)}"
        )
    flex = [name for name in summary.unknown_custom_ops if name.startswith("Flex")]
    if flex:
        return (
            f"uses {_named(flex)} of full TensorFlow, which no TensorFlow Lite runtime here has; "
            "convert the model with TFLite's builtin operators only"
        )
    if summary.unknown_custom_ops:
        return (
            f"uses {_named(summary.unknown_custom_ops)}, which no TensorFlow Lite runtime knows; "
            "use a build of the model without it"
        )
    unresolved = re.search(r"unresolved custom op: (\S+?)\.?(?:\s|$)", said)
    if unresolved and unresolved[1] in LITERT_CUSTOM_OPERATORS:
        return (
            f"uses the operator '{unresolved[1]}', which only ai-edge-litert knows; install it and "
            "set `engine: litert`"
        )
    too_old = re.search(r"for builtin opcode '(\w+)' version '(\d+)'", said)
    if too_old:
        return f"uses {too_old[1]} in version {too_old[2]}, which {_newer_runtime(summary)}"
    out_of_range = re.search(r"builtin_code out of range: (\d+)", said)
    if out_of_range:
        return f"uses builtin operator number {out_of_range[1]}, which {_newer_runtime(summary)}"
    schema = re.search(r"schema version (\d+) not equal to supported version (\d+)", said)
    if schema:
        return (
            f"has schema version {schema[1]}, and runtimes read version {schema[2]}; convert the "
            "model again"
        )
    if "not a valid Flatbuffer" in said:
        return f"is damaged (the runtime says: not a valid flatbuffer); {_AGAIN}"
    return said or "was refused by the interpreter without a reason; run `edge inspect` on it"


def _named(operators: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:80]}'" for name in operators[:_MAX_NAMES])
    more = f" and {len(operators) - _MAX_NAMES} more" if len(operators) > _MAX_NAMES else ""
    return f"the operator{'s' if len(operators) > 1 else ''} {shown}{more}"


def _newer_runtime(summary: ModelSummary) -> str:
    wants = summary.min_runtime_version
    return (
        "the installed runtime is too old for"
        + (f" (the file asks for TensorFlow {wants[:20]} or newer)" if wants else "")
        + "; update ai-edge-litert, or convert the model with an older converter"
    )


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    half = line[: len(line) // 2]
    if half + half == line:  # tflite-runtime says some messages twice
        line = half
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"
