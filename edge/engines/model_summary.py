"""What can be said about a .tflite file without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSummary:
    """One input or output of the model."""

    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    """The shape with -1 where the model accepts any size; else the same as `shape`."""
    dtype: str
    """numpy's name; what numpy has not (`string`, `int4`, `bfloat16`) by the schema's."""
    scales: tuple[float, ...]
    """Empty: not quantized; one: for the whole tensor; more: one a channel."""
    zero_points: tuple[int, ...]
    quantized_dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """A model file, as `edge inspect` shows it."""

    path: Path
    size_bytes: int
    sha256: str
    description: str
    schema_version: int
    min_runtime_version: str | None
    """What the converter noted as the oldest TensorFlow whose runtime knows every operator."""
    subgraphs: int
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    operators: dict[str, int]
    """How often each operator stands in the file, all subgraphs together, most frequent first.

    Builtin operators by the schema's name (`CONV_2D`), custom ones by their own.
    """
    float_operators: dict[str, int]
    """Those of `operators` that read or write a floating-point tensor, conversions included."""
    fully_int8: bool
    """Nothing is computed in floating point: `float_operators` is empty."""
    edgetpu: bool
    """Compiled for the Edge TPU: no CPU runs it."""
    unknown_custom_ops: tuple[str, ...]
    """The custom operators that neither a stock interpreter nor the Edge TPU knows."""
    keeps_state: bool
    """Holds variables, so the same input twice need not give the same output."""
    parameters_bytes: int
    """Size of the constants that tensors refer to: weights, biases, tables."""
    macs: int
    """Multiply-accumulates of one forward pass: the sum of `macs_by_operator`.

    Of the first subgraph, at the shapes in the file; see `any_size` and `uncounted_operators`.
    """
    macs_by_operator: dict[str, int]
    """Those operators of the first subgraph that have any, most first."""
    uncounted_operators: dict[str, int]
    """How many operators of the first subgraph are missing in `macs`: custom ones, control flow,
    those whose shapes the file does not tell."""
    any_size: bool
    """A tensor's extent is only known once the model runs; `macs` takes the file's, mostly 1."""
