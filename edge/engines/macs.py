"""Counts an operator's multiply-accumulates (MACs) from the shapes of its tensors.

Counted are the products that are summed up: convolutions, matrix products and recurrent layers,
as papers on models count them. Work on single elements, pooling and moving data counts 0.
Formulas follow the definition of each operator in TensorFlow Lite; the layout of its tensors is
the one that its reference kernel reads (tensorflow/lite/kernels/*.cc).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Shape: TypeAlias = tuple[int, ...]

_HIGHEST_RANK = 8  # what the runtimes' kernels take; bounds the work on a damaged file


def count_macs(
    operator: str,
    inputs: Sequence[Shape | None],
    outputs: Sequence[Shape | None],
    *,
    custom: bool = False,
) -> int | None:
    """Return the MACs of one run of an operator, builtin ones by the schema's name (`CONV_2D`).

    None stands for a tensor left out, and as the answer for what cannot be counted: an operator
    without a formula here, or shapes that are not the operator's. Sparse weights count as dense.
    """
    if custom:
        return 0 if operator in CUSTOM_WITHOUT_MACS else None
    if operator in WITHOUT_MACS:
        return 0
    formula = _FORMULAS.get(operator)
    if formula is None:
        return None
    try:
        return formula(inputs, outputs)
    except _NotItsShapes:
        return None


class _NotItsShapes(Exception):  # noqa: N818 - an answer within this module
    """The tensors are not those that the operator takes."""


def _convolution(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """Output elements x kernel height x width x input channels of the filter.

    Filter [out, height, width, in]; in a grouped convolution its `in` is that of one group
    (conv.cc).
    """
    _, height, width, channels = _shape(inputs, 1, rank=4)
    return _elements(_shape(outputs, 0, rank=4)) * height * width * channels


def _depthwise_convolution(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """Output elements x kernel height x width: each output channel sees one of the input.

    Filter [1, height, width, out] (depthwise_conv.cc).
    """
    _, height, width, _ = _shape(inputs, 1, rank=4)
    return _elements(_shape(outputs, 0, rank=4)) * height * width


def _transposed_convolution(
    inputs: Sequence[Shape | None],
    outputs: Sequence[Shape | None],  # noqa: ARG001 - its size does not matter
) -> int:
    """Input elements x kernel height x width x output channels: each input is spread out.

    Takes output shape, filter [out, height, width, in], input (transpose_conv.cc). What falls
    outside the output's edges is counted too.
    """
    channels, height, width, _ = _shape(inputs, 1, rank=4)
    return _elements(_shape(inputs, 2, rank=4)) * height * width * channels


def _convolution_3d(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """Output elements x kernel depth x height x width x input channels.

    Filter [depth, height, width, in, out] (conv3d.cc).
    """
    depth, height, width, channels, _ = _shape(inputs, 1, rank=5)
    return _elements(_shape(outputs, 0, rank=5)) * depth * height * width * channels


def _transposed_convolution_3d(
    inputs: Sequence[Shape | None],
    outputs: Sequence[Shape | None],  # noqa: ARG001 - its size does not matter
) -> int:
    """Input elements x kernel depth x height x width x output channels.

    Takes output shape, filter [depth, height, width, out, in], input (conv3d_transpose.cc).
    """
    depth, height, width, channels, _ = _shape(inputs, 1, rank=5)
    return _elements(_shape(inputs, 2, rank=5)) * depth * height * width * channels


def _fully_connected(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """Output elements x inputs of a unit. Weights [units, inputs] (fully_connected.cc)."""
    _, depth = _shape(inputs, 1, rank=2)
    units = _shape(outputs, 0)
    if not units:  # a shape that is only known once it runs
        raise _NotItsShapes
    return _elements(units) * depth


def _batch_matmul(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """Output elements x the length that is summed over.

    The left side is [..., rows, length], or with `adj_x` [..., length, rows]; the output says
    how many rows there are (batch_matmul.cc).
    """
    left, product = _shape(inputs, 0), _shape(outputs, 0)
    if len(left) < 2 or len(product) < 2:  # noqa: PLR2004
        raise _NotItsShapes
    rows = product[-2]
    if not rows or rows not in left[-2:]:
        raise _NotItsShapes
    return _elements(product) * (left[-2] * left[-1] // rows)


def _svdf(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:  # noqa: ARG001
    """Batch x (weights of the features + weights of their times): each is used once.

    Takes input [batch, inputs], weights [filters, inputs] and [filters, memory] (svdf.cc).
    """
    return _each_weight_once_a_step(inputs, (1, 2))


def _recurrent(*matrices: int) -> _Formula:
    """Steps x batch x elements of the weight matrices, which stand at these inputs.

    Each weight is used once a step; the input is [batch, time, inputs] or [time, batch, inputs].
    What gates and peepholes do element by element counts 0.
    """
    return lambda inputs, _: _each_weight_once_a_step(inputs, matrices)


def _lstm(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> int:
    """As UNIDIRECTIONAL_SEQUENCE_LSTM, or one matrix for all gates: the basic kernel (lstm.cc)."""
    basic_kernel = 5  # inputs: input, state of the output, weights, biases, state of the cell
    if len(inputs) == basic_kernel:
        return _each_weight_once_a_step(inputs, (2,))
    return _SEQUENCE_LSTM(inputs, outputs)


def _each_weight_once_a_step(inputs: Sequence[Shape | None], matrices: Iterable[int]) -> int:
    input_shape = _shape(inputs, 0)
    weights = 0
    for index in matrices:
        if index < len(inputs) and inputs[index] is not None:
            weights += _elements(_shape(inputs, index, rank=2))
    if not weights or not input_shape:
        raise _NotItsShapes
    return math.prod(input_shape[:-1]) * weights


def _shape(tensors: Sequence[Shape | None], index: int, *, rank: int | None = None) -> Shape:
    shape = tensors[index] if index < len(tensors) else None
    if shape is None or len(shape) > _HIGHEST_RANK or any(extent < 0 for extent in shape):
        raise _NotItsShapes
    if rank is not None and len(shape) != rank:
        raise _NotItsShapes
    return shape


def _elements(shape: Shape) -> int:
    return math.prod(shape)


_Formula: TypeAlias = "Callable[[Sequence[Shape | None], Sequence[Shape | None]], int]"

# Input to gates, state to gates, four each, and the projection
# (unidirectional_sequence_lstm.cc).
_SEQUENCE_LSTM = _recurrent(*range(1, 9), 16)

_FORMULAS: dict[str, _Formula] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise_convolution,
    "TRANSPOSE_CONV": _transposed_convolution,
    "CONV_3D": _convolution_3d,
    "CONV_3D_TRANSPOSE": _transposed_convolution_3d,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "SVDF": _svdf,
    "RNN": _recurrent(1, 2),  # basic_rnn.cc
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent(1, 2),
    "LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _SEQUENCE_LSTM,
}

# Decodes boxes element by element and compares them (detection_postprocess.cc).
CUSTOM_WITHOUT_MACS = frozenset({"TFLite_Detection_PostProcess"})

# Named one by one, so that an operator that is new here is told as not counted.
_MOVING = """
    ASSIGN_VARIABLE BATCH_TO_SPACE_ND BITCAST BROADCAST_ARGS BROADCAST_TO BUCKETIZE CALL_ONCE
    CAST CONCATENATION DENSIFY DEPTH_TO_SPACE DEQUANTIZE DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP
    EXPAND_DIMS FAKE_QUANT FILL GATHER GATHER_ND HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT
    HASHTABLE_LOOKUP HASHTABLE_SIZE IMAG MATRIX_DIAG MATRIX_SET_DIAG MIRROR_PAD ONE_HOT PACK PAD
    PADV2 QUANTIZE RANGE RANK READ_VARIABLE REAL RESHAPE RESIZE_NEAREST_NEIGHBOR
    REVERSE_SEQUENCE REVERSE_V2 SCATTER_ND SHAPE SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH
    SPARSE_TO_DENSE SPLIT SPLIT_V SQUEEZE STRIDED_SLICE TILE TRANSPOSE UNPACK VAR_HANDLE WHERE
    ZEROS_LIKE
"""
_ELEMENT_BY_ELEMENT = """
    ABS ADD ADD_N ATAN2 BITWISE_XOR CEIL COMPLEX_ABS COS DIV ELU EQUAL EXP FLOOR FLOOR_DIV
    FLOOR_MOD GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND
    LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MINIMUM MUL NEG NOT_EQUAL POW PRELU RELU RELU6
    RELU_0_TO_1 RELU_N1_TO_1 RIGHT_SHIFT ROUND RSQRT SELECT SELECT_V2 SIGN SIN SQRT SQUARE
    SQUARED_DIFFERENCE SUB TANH
"""
_REDUCING = """
    ARG_MAX ARG_MIN AVERAGE_POOL_2D CUMSUM L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOG_SOFTMAX MAX_POOL_2D MEAN MULTINOMIAL NON_MAX_SUPPRESSION_V4
    NON_MAX_SUPPRESSION_V5 RANDOM_STANDARD_NORMAL RANDOM_UNIFORM REDUCE_ALL REDUCE_ANY
    REDUCE_MAX REDUCE_MIN REDUCE_PROD RESIZE_BILINEAR SEGMENT_SUM SOFTMAX SUM TOPK_V2 UNIQUE
    UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM
"""
WITHOUT_MACS = frozenset((_MOVING + _ELEMENT_BY_ELEMENT + _REDUCING).split())
