"""The golden self-test: a model runs inputs whose right answers are known, before its first frame.

A golden file is a .npz without pickled objects, so that numpy alone reads and writes it:

    input       [vectors, *the model's input shape], the input's dtype
    output_0    [answers, vectors, *the first output's shape], its dtype, still quantized
    output_1    ... and so on, one for each output
    origin      optional: JSON text, the fields of `Origin`

Each engine that is trusted may have given an answer of its own: they differ by more than one
quantization step on many models, and what lies between two right answers is right as well.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import platform
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.engines.likeness import steps_apart
from edge.errors import GoldenError, GoldenFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO, NoReturn

    from numpy.typing import NDArray

    from edge.engines.engine import Engine
    from edge.tensors import TensorSpec

NPY: Any = npy_format  # numpy 1 has no types for it
MOST_VECTORS = 64  # they are run at every start
MOST_ANSWERS = 8
MOST_BYTES = 32 << 20  # of the file, and of what is in it
HEADER_BYTES = 10_000  # numpy's own limit
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack beyond the size declared
FLOAT_STEPS = 255  # a float output has as many as a quantized one between 0 and its largest value
CLASS_STEPS = 100  # a map of classes: hundredths of its values


class Origin(BaseModel):
    """Where a golden file comes from: for people, and no condition."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(max_length=255)
    """The file that answered."""
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """Its SHA-256, in hex."""
    engines: list[str] = Field(max_length=MOST_ANSWERS)
    """What ran it, with versions and machines, in the order of the answers."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs, and what a model may answer to them."""

    inputs: NDArray[Any]
    """[vectors, *input shape]"""
    answers: list[NDArray[Any]]
    """One an output: [answers, vectors, *output shape]"""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Farthest:
    """The value that is farthest from the right answers."""

    steps: float
    vector: int
    output: int
    place: tuple[int, ...]
    found: float
    right: tuple[float, ...]
    """What each of the answers has there."""


def self_test(engine: Engine, path: Path, *, steps: float, digest: str = "") -> dict[str, float]:
    """Run the golden inputs of a model on a freshly loaded engine; return what was found.

    The result has the fields of `edge.info_parts.GoldenInfo`. `digest` is the SHA-256 of the
    engine's model. Raises GoldenError where a value is more than `steps` from the right answers,
    GoldenFileError where the file cannot be used, ModelError or AcceleratorError when the model
    fails.
    """
    began = time.monotonic()
    golden = read_golden(path, engine.inputs[0], engine.outputs)
    worst = Farthest(0.0, 0, 0, (), 0.0, ())
    for found in _differences(engine, golden):
        worst = max(worst, found, key=lambda one: one.steps)
    if worst.steps > steps:
        said = f"{engine.path}: on {_runs_on(engine)} it answers otherwise than its golden file "
        said += f"{path} says: {_in_words(worst, engine, golden, steps)}"
        raise GoldenError(said + _hints(golden.origin, engine, digest))
    return {
        "vectors": len(golden.inputs),
        "worst_steps": round(worst.steps, 3),
        "ms": round((time.monotonic() - began) * 1e3, 3),
    }


def _differences(engine: Engine, golden: Golden) -> Iterator[Farthest]:
    """Yield the farthest value of each output of each vector."""
    steps = [_step(spec, right) for spec, right in zip(engine.outputs, golden.answers, strict=True)]
    for vector, tensor in enumerate(golden.inputs):
        outputs = run_golden_input(engine, tensor)
        for output, (found, right) in enumerate(zip(outputs, golden.answers, strict=True)):
            answers = right[:, vector]
            if not found.size:
                continue
            away = steps_apart(found, answers, steps[output])
            at = np.unravel_index(int(np.argmax(away)), away.shape)
            place = tuple(int(index) for index in at)
            yield Farthest(
                _farthest(away, engine.outputs[output]),
                vector,
                output,
                place,
                float(found[at]),
                tuple(float(answer[at]) for answer in answers),
            )


def farthest_apart(golden: Golden, outputs: Sequence[TensorSpec]) -> float:
    """Return how far any two answers are apart, in steps, at most."""
    worst = 0.0
    for spec, right in zip(outputs, golden.answers, strict=True):
        step = _step(spec, right)
        for one, other in itertools.combinations(right, 2):
            for found, of_other in zip(one, other, strict=True):
                away = steps_apart(found, of_other[np.newaxis], step)
                worst = max(worst, _farthest(away, spec))
    return worst


def _farthest(away: NDArray[np.float64], spec: TensorSpec) -> float:
    """Return how far an output is from the right ones, of how far each of its values is."""
    if _holds_classes(spec):
        return CLASS_STEPS * np.count_nonzero(away) / max(away.size, 1)
    return float(np.max(away, initial=0.0))


def run_golden_input(engine: Engine, tensor: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the outputs to one input.

    Raises GoldenError where the model works out the size of an output as it runs: then there is
    nothing to compare.
    """
    outputs = engine.run(tensor)
    for found, spec in zip(outputs, engine.outputs, strict=True):
        if found.shape != spec.shape:
            raise GoldenError(
                f"{engine.path}: its output {spec.name} has changed its size to "
                f"{list(found.shape)}: such a model can have no golden file"
            )
    return outputs


def _holds_classes(spec: TensorSpec) -> bool:
    """Whether an output's numbers are names rather than amounts: whole ones without a scale."""
    return not spec.scale and np.dtype(spec.dtype).kind != "f"


def _step(spec: TensorSpec, answers: NDArray[Any]) -> float:
    if np.dtype(spec.dtype).kind == "f":
        finite = answers[np.isfinite(answers)]
        return float(np.max(np.abs(finite), initial=0.0)) / FLOAT_STEPS
    return 1.0 if spec.scale else 0.0


def _runs_on(engine: Engine) -> str:
    with_it = f" with the {engine.accelerator.title}" if engine.accelerator is not None else ""
    return f"{engine.choice.name} {engine.choice.version}{with_it}"


def _in_words(worst: Farthest, engine: Engine, golden: Golden, steps: float) -> str:
    spec = engine.outputs[worst.output]
    right = " or ".join(dict.fromkeys(_value(one, spec) for one in worst.right))
    said = (
        f"input {worst.vector + 1} of {len(golden.inputs)}, output {spec.name} at "
        f"{list(worst.place)} is {_value(worst.found, spec)}, not {right}"
    )
    if _holds_classes(spec):
        return f"{said}; {worst.steps:.3g} % of its values are wrong ({steps:g} % are allowed)"
    return f"{said}: {worst.steps:.4g} steps apart ({steps:g} allowed)"


def _hints(origin: Origin | None, engine: Engine, digest: str) -> str:
    """Say what besides a fault may be the reason."""
    said = ""
    if origin is None:
        return said
    if digest and origin.digest != digest:
        said += (
            f"; the file was made with another build of the model ({origin.model}, sha256 "
            f"{origin.digest[:12]}..., not {digest[:12]}...)"
        )
    here = f"{engine.choice.name} {engine.choice.version} on {platform.machine()}"
    if here not in origin.engines:
        said += (
            f"; it has the answers of {', '.join(origin.engines)}, and others may round otherwise: "
            "`edge golden --add` adds theirs, where you trust them"
        )
    return said


def _value(number: float, spec: TensorSpec) -> str:
    """Return a value in real units, with the quantized one where there is one."""
    if not spec.scale:
        return f"{number:g}"
    return f"{spec.scale * (number - spec.zero_point):.4g} (quantized {number:g})"


def read_golden(path: Path, given: TensorSpec, answered: Sequence[TensorSpec]) -> Golden:
    """Read a golden file for a model with this input and these outputs.

    Raises GoldenFileError, saying what is wrong with it; nothing larger than `MOST_BYTES` is
    unpacked, and no pickle is read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                _refuse(path, f"has {size:,} bytes, and at most {MOST_BYTES:,} are read")
            return _Reader(path, file).read(given, answered)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror or error}", error)


def _refuse(path: Path, reason: str, error: BaseException | None = None) -> NoReturn:
    raise GoldenFileError(f"{path}: the golden file {reason}") from error


class _Reader:
    """Reads the arrays of a golden file, each only once it is known to be what is expected."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(file)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  not of BadZipFile alone: damage has many names
            self._refuse("is no .npz file, or is cut off or damaged", error)
        self._members = {member.filename: member for member in self._archive.infolist()}

    def read(self, given: TensorSpec, answered: Sequence[TensorSpec]) -> Golden:
        names = ["input", *(f"output_{number}" for number in range(len(answered)))]
        if missing := [name for name in names if f"{name}.npy" not in self._members]:
            has = ", ".join(map(_plain, list(self._members)[:MOST_ANSWERS])) or "nothing"
            self._refuse(f"has no array {' and no '.join(map(repr, missing))}; it has {has}")
        known = {f"{name}.npy" for name in (*names, "origin")}
        if unknown := [name for name in self._members if name not in known]:
            self._refuse(
                f"holds {_plain(unknown[0])}, which belongs to no output: the model has "
                f"{len(answered)}"
            )
        if any(member.compress_type not in BOUNDED for member in self._members.values()):
            self._refuse("is packed otherwise than numpy does")
        unpacked = sum(member.file_size for member in self._members.values())
        if unpacked > MOST_BYTES:
            self._refuse(f"holds {unpacked:,} bytes, and at most {MOST_BYTES:,} are read")
        inputs = self._array("input", given, leading=("vectors",))
        vectors = len(inputs)
        answers = [
            self._array(name, spec, leading=("answers", "vectors"), vectors=vectors)
            for name, spec in zip(names[1:], answered, strict=True)
        ]
        return Golden(inputs, answers, self._origin())

    def _array(
        self, name: str, spec: TensorSpec, leading: tuple[str, ...], vectors: int | None = None
    ) -> NDArray[Any]:
        """Read an array whose extents are the leading ones and then those of a tensor."""
        shape, dtype, data = self._header(name)
        ahead = len(leading)
        wanted = f"{spec.dtype} [{', '.join((*leading, *map(str, spec.shape)))}]"
        if len(shape) < ahead or shape[ahead:] != spec.shape or dtype != np.dtype(spec.dtype):
            self._refuse(f"has {name} of {dtype} {list(shape)}, and the model needs {wanted}")
        most = {"vectors": MOST_VECTORS, "answers": MOST_ANSWERS}
        for word, extent in zip(leading, shape, strict=False):
            if not 1 <= extent <= most[word]:
                self._refuse(f"has {extent} {word} in {name}, and 1 to {most[word]} are read")
        if vectors is not None and shape[1] != vectors:
            self._refuse(f"has {vectors} vectors in input and {shape[1]} in {name}")
        if math.prod(shape) * dtype.itemsize != len(data):
            self._refuse(f"is damaged: {name} has {len(data)} bytes, not those of {list(shape)}")
        return np.frombuffer(data, dtype).reshape(shape)

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bytes]:
        """Return the shape, the type and the bytes of an array."""
        # Whatever damage does to zlib, and a text that is parsed as Python: any error comes out.
        try:
            data = self._archive.read(self._members[f"{name}.npy"])
            head = io.BytesIO(data[:HEADER_BYTES])
            version = NPY.read_magic(head)
            read = NPY.read_array_header_1_0 if version == (1, 0) else NPY.read_array_header_2_0
            shape, fortran, dtype = read(head)
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._refuse(f"is damaged: {name} cannot be read: {reason}", error)
        if dtype.hasobject:
            self._refuse(f"holds pickled objects in {name}, which are never read: save numbers")
        if fortran and len(shape) > 1:
            self._refuse(f"has {name} in Fortran order: save `numpy.ascontiguousarray` of it")
        return shape, dtype, data[head.tell() :]

    def _origin(self) -> Origin | None:
        """Return where it comes from; what is no such text is as good as none."""
        if "origin.npy" not in self._members:
            return None
        shape, dtype, data = self._header("origin")
        if shape or dtype.kind != "U" or len(data) != dtype.itemsize:
            self._refuse("has an origin that is no text")
        try:
            origin = Origin.model_validate_json(str(np.frombuffer(data, dtype)[0]))
        except (ValidationError, ValueError) as error:
            self._refuse("has an origin that says nothing of model, digest and engines", error)
        engines = [_plain(one) for one in origin.engines]
        return Origin(model=_plain(origin.model), digest=origin.digest, engines=engines)

    def _refuse(self, reason: str, error: BaseException | None = None) -> NoReturn:
        _refuse(self._path, reason, error)


def _plain(text: str) -> str:
    """Return a text that is safe on a terminal, and not too long."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:80])


def write_golden(golden: Golden, path: Path) -> None:
    """Write a golden file in one stroke; the same golden gives the same bytes.

    Raises GoldenFileError when it cannot be written, or could not be read again.
    """
    arrays: dict[str, Any] = {"input": golden.inputs}
    arrays |= {f"output_{number}": right for number, right in enumerate(golden.answers)}
    if len(golden.answers[0]) > MOST_ANSWERS:
        _refuse(path, f"would hold more than {MOST_ANSWERS} answers: make it anew")
    if golden.origin is not None:
        arrays["origin"] = np.array(golden.origin.model_dump_json())
    most = MOST_BYTES - HEADER_BYTES * len(arrays)
    if (size := sum(array.nbytes for array in arrays.values())) > most:
        _refuse(path, f"would hold {size:,} bytes, and at most {most:,} are read: fewer inputs")
    try:
        descriptor, name = tempfile.mkstemp(prefix=".golden-", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor has no path
                np.savez_compressed(file, **arrays)
                os.fchmod(descriptor, 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        _refuse(path, f"cannot be written: {error.strerror or error}", error)
