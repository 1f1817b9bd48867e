"""Walks the graph in a .tflite file's bytes through the schema's classes, with no interpreter.

The bytes are untrusted: whatever they hold, the walk ends soon, takes little memory, and
raises nothing but Damage.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.engines.macs import Shape, count_macs
from edge.engines.model_summary import ModelSummary, TensorSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EDGETPU_OPERATOR = "edgetpu-custom-op"

# Found by loading a model of one operator in each: these four resolve in tflite-runtime 2.14
# and in LiteRT 2.3, the other two in LiteRT 2.3 only.
STOCK_CUSTOM_OPERATORS = frozenset(
    {"AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"}
)
LITERT_CUSTOM_OPERATORS = frozenset({"aeq.hadamard_rotation", "odml.scaled_dot_product_attention"})

_STATE_OPERATORS = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"})

# The schema's TensorType, newest entries from LiteRT 2.3's copy of it.
_DTYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64"),
    *("int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16"),
    *("int4", "bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2"),
)

# A table costs 10 and a number 1: room for 25,000 operators and tensors. The largest test
# model spends 13,000; a file at the limit is refused within a second.
_MAX_STEPS = 500_000
_STEPS_PER_TABLE = 10
_MAX_TEXT_BYTES = 1 << 20

_MAIN = 0  # the subgraph that an interpreter runs; others are called by it, or not at all
_LEFT_OUT = -1  # in place of an operator's optional tensor
_NO_BUFFER = 0  # a tensor's buffer 0 says that it holds no constant


class Damage(Exception):  # noqa: N818 - told to people as a ModelError, never raised further
    """The bytes are no usable model; the message completes "the file ..."."""

    def __init__(self, what: str, cure: str = "copy or download it again") -> None:
        super().__init__(what)
        self.cure = cure


class Contents(bytearray):
    """A file's bytes, whose slices never silently stop at the end: that is truncation.

    The schema's classes take slices for texts only, and behind each stands one more byte, NUL.
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop >= len(self):
            raise IndexError("a text reaches beyond the end")
        if isinstance(key, slice) and key.stop - key.start > _MAX_TEXT_BYTES:
            raise Damage("is damaged: it holds a text of more than 1 MB")
        return super().__getitem__(key)


def summarize(contents: Contents, path: Path) -> ModelSummary:
    """Return what the bytes say; `path` is only noted. Raises Damage."""
    try:
        return _Graph(contents).summary(path)
    # What flatbuffers and numpy raise for an offset that leads nowhere.
    except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
        raise Damage(
            f"is cut short or damaged: its contents point beyond its end at {len(contents)} bytes"
        ) from error


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    custom: bool


@dataclass(frozen=True, slots=True)
class _Tensor:
    dtype: str
    buffer: int
    variable: bool
    shape: Shape
    any_size: bool
    """Some extent is only known once the model runs; `shape` is what the file holds instead."""


@dataclass(frozen=True, slots=True)
class _Operator:
    kind: _Kind
    inputs: list[_Tensor | None]
    outputs: list[_Tensor | None]

    @property
    def used(self) -> Iterator[_Tensor]:
        return (tensor for tensor in self.inputs + self.outputs if tensor is not None)

    @property
    def macs(self) -> int | None:
        inputs, outputs = (
            [tensor.shape if tensor is not None else None for tensor in tensors]
            for tensors in (self.inputs, self.outputs)
        )
        return count_macs(self.kind.name, inputs, outputs, custom=self.kind.custom)


class _Graph:
    def __init__(self, contents: Contents) -> None:
        from tflite.Model import Model  # late: 0.2 s for some 300 classes

        self._contents = contents
        self._steps_left = _MAX_STEPS
        self._model = Model.GetRootAs(contents, 0)
        self._check_end(self._model._tab)  # noqa: SLF001 - the package has no other way to it

    def summary(self, path: Path) -> ModelSummary:
        model = self._model
        if model.SubgraphsLength() == 0:
            raise Damage("holds no subgraph, so there is nothing to run", "convert the model again")
        buffer_sizes = [
            self._size(buffer, buffer.DataAsNumpy(), buffer.Offset(), buffer.Size())
            for buffer in self._tables(model.BuffersLength(), model.Buffers)
        ]
        kinds = [
            self._kind(code)
            for code in self._tables(model.OperatorCodesLength(), model.OperatorCodes)
        ]
        operators: Counter[_Kind] = Counter()
        float_operators: Counter[str] = Counter()
        macs: Counter[str] = Counter()
        uncounted: Counter[str] = Counter()
        any_size = False
        constants: set[int] = set()
        keeps_state = False
        for number, subgraph in enumerate(self._tables(model.SubgraphsLength(), model.Subgraphs)):
            tensors = [
                self._tensor(tensor, buffers=len(buffer_sizes))
                for tensor in self._tables(subgraph.TensorsLength(), subgraph.Tensors)
            ]
            constants.update(tensor.buffer for tensor in tensors if tensor.buffer != _NO_BUFFER)
            keeps_state |= any(tensor.variable for tensor in tensors)
            for table in self._tables(subgraph.OperatorsLength(), subgraph.Operators):
                operator = self._operator(table, kinds, tensors)
                name = operator.kind.name
                operators[operator.kind] += 1
                if any(_is_float(tensor.dtype) for tensor in operator.used):
                    float_operators[name] += 1
                if number == _MAIN:
                    counted = operator.macs
                    macs[name] += counted or 0
                    uncounted[name] += counted is None
                    any_size |= any(tensor.any_size for tensor in operator.used)

        names: Counter[str] = Counter()
        for kind, count in operators.items():
            names[kind.name] += count
        builtin = {kind.name for kind in operators if not kind.custom}
        custom = {kind.name for kind in operators if kind.custom}
        known = STOCK_CUSTOM_OPERATORS | LITERT_CUSTOM_OPERATORS | {EDGETPU_OPERATOR}
        main = model.Subgraphs(_MAIN)
        return ModelSummary(
            path=path,
            size_bytes=len(self._contents),
            sha256=hashlib.sha256(self._contents).hexdigest(),
            description=self._text(model.Description()),
            schema_version=int(model.Version()),
            min_runtime_version=self._min_runtime_version(),
            subgraphs=int(model.SubgraphsLength()),
            inputs=self._ends(main, main.InputsAsNumpy()),
            outputs=self._ends(main, main.OutputsAsNumpy()),
            operators=_most_frequent_first(names),
            float_operators=_most_frequent_first(float_operators),
            fully_int8=not float_operators,
            edgetpu=EDGETPU_OPERATOR in custom,
            unknown_custom_ops=tuple(sorted(custom - known)),
            keeps_state=keeps_state or not builtin.isdisjoint(_STATE_OPERATORS),
            parameters_bytes=sum(buffer_sizes[index] for index in constants),
            macs=sum(macs.values()),
            macs_by_operator=_most_frequent_first(+macs),
            uncounted_operators=_most_frequent_first(+uncounted),
            any_size=any_size,
        )

    def _kind(self, code: Any) -> _Kind:
        from tflite.utils import opcode2name

        # Old files fill the first field, new ones both; runtimes take the larger, whereas
        # the package's BuiltinCode() ignores the second below 127.
        number = int(code.DeprecatedBuiltinCode())
        slot = code._tab.Offset(10)  # noqa: SLF001
        if slot:
            (second,) = struct.unpack_from("<i", self._contents, code._tab.Pos + slot)  # noqa: SLF001
            number = max(number, second)
        try:
            name = str(opcode2name(number))
        except ValueError:  # newer than the package's schema
            return _Kind(f"BUILTIN_{number}", custom=False)
        if name != "CUSTOM":
            return _Kind(name, custom=False)
        custom = self._text(code.CustomCode())
        if not custom:
            raise Damage("is damaged: it declares a custom operator without a name")
        return _Kind(custom, custom=True)

    def _tensor(self, tensor: Any, *, buffers: int) -> _Tensor:
        number, buffer = int(tensor.Type()), int(tensor.Buffer())
        if not 0 <= number < len(_DTYPES):
            raise Damage(f"is damaged or newer than this program: a tensor has the type {number}")
        if buffer != _NO_BUFFER and buffer >= buffers:
            raise Damage(f"is damaged: a tensor uses the buffer {buffer} of {buffers}")
        return _Tensor(
            dtype=_DTYPES[number],
            buffer=buffer,
            variable=bool(tensor.IsVariable()),
            shape=tuple(self._numbers(tensor.ShapeAsNumpy())),
            any_size=-1 in self._numbers(tensor.ShapeSignatureAsNumpy()),
        )

    def _operator(self, operator: Any, kinds: list[_Kind], tensors: list[_Tensor]) -> _Operator:
        index = int(operator.OpcodeIndex())
        if index >= len(kinds):
            raise Damage(f"is damaged: an operator is of the kind {index} of {len(kinds)}")
        self._size(
            operator,
            operator.CustomOptionsAsNumpy(),
            operator.LargeCustomOptionsOffset(),
            operator.LargeCustomOptionsSize(),
        )
        for options in (operator.BuiltinOptions(), operator.BuiltinOptions2()):
            if options is not None:
                self._check_end(options)
        inputs, outputs = (
            self._numbers(indices)
            for indices in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
        )
        if any(not _LEFT_OUT <= number < len(tensors) for number in inputs + outputs):
            raise Damage("is damaged: an operator uses a tensor that is not there")
        return _Operator(
            kinds[index],
            [tensors[number] if number != _LEFT_OUT else None for number in inputs],
            [tensors[number] if number != _LEFT_OUT else None for number in outputs],
        )

    def _ends(self, subgraph: Any, indices: Any) -> tuple[TensorSummary, ...]:
        return tuple(self._end(subgraph, index) for index in self._numbers(indices))

    def _end(self, subgraph: Any, index: int) -> TensorSummary:
        if not 0 <= index < subgraph.TensorsLength():
            raise Damage("is damaged: an input or output is a tensor that is not there")
        self._spend(_STEPS_PER_TABLE)
        tensor = subgraph.Tensors(index)
        shape = tuple(self._numbers(tensor.ShapeAsNumpy()))
        quantization = tensor.Quantization()
        return TensorSummary(
            name=self._text(tensor.Name()),
            shape=shape,
            shape_signature=tuple(self._numbers(tensor.ShapeSignatureAsNumpy())) or shape,
            dtype=_DTYPES[int(tensor.Type())],
            scales=tuple(self._numbers(quantization.ScaleAsNumpy())) if quantization else (),
            zero_points=(
                tuple(self._numbers(quantization.ZeroPointAsNumpy())) if quantization else ()
            ),
            quantized_dimension=int(quantization.QuantizedDimension()) if quantization else 0,
        )

    def _min_runtime_version(self) -> str | None:
        model = self._model
        for entry in self._tables(model.MetadataLength(), model.Metadata):
            if self._text(entry.Name()) == "min_runtime_version":
                if entry.Buffer() >= model.BuffersLength():
                    raise Damage("is damaged: its metadata use a buffer that is not there")
                data = model.Buffers(entry.Buffer()).DataAsNumpy()
                numbers = [] if isinstance(data, int) else data[:32].tolist()
                return self._text(bytes(numbers).rstrip(b"\0")) or None
        return None

    def _tables(self, count: int, table: Callable[[int], Any]) -> Iterator[Any]:
        self._spend(count * _STEPS_PER_TABLE)
        for index in range(count):
            found = table(index)
            self._check_end(found._tab)  # noqa: SLF001
            yield found

    def _check_end(self, table: Any) -> None:
        """Raise where the file is cut off within the table's own fields, read or not."""
        (to_vtable,) = struct.unpack_from("<i", self._contents, table.Pos)
        vtable = table.Pos - to_vtable
        vtable_bytes, table_bytes = struct.unpack_from("<HH", self._contents, vtable)
        if max(vtable + vtable_bytes, table.Pos + table_bytes) > len(self._contents):
            raise IndexError("a table reaches beyond the end")

    def _numbers(self, vector: Any) -> list[Any]:
        if isinstance(vector, int):  # the package's 0 for a vector that is not there
            return []
        self._spend(len(vector))
        return list(vector.tolist())

    def _text(self, raw: bytes | None) -> str:
        """Return a text that is safe on a terminal."""
        self._spend(len(raw or b"") // 16)
        text = (raw or b"").decode("utf-8", errors="replace")
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)

    def _size(self, holder: Any, inside: Any, offset: int, size: int) -> int:
        """Return the size of data inside the flatbuffer, or behind it (models beyond 2 GB)."""
        if offset > 1:  # 0 and 1 say that there are none
            if offset + size > len(self._contents):
                raise IndexError(f"data of a {type(holder).__name__} reach beyond the end")
            return size
        return 0 if isinstance(inside, int) else len(inside)

    def _spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise Damage("is damaged: it claims to hold more parts than any real model")


def _is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))


def _most_frequent_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
