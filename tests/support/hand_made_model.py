"""Builds .tflite files that no converter would, for tests of what reads them."""

from __future__ import annotations

from functools import partial
from typing import Any

import flatbuffers
import tflite

FULLY_CONNECTED, RESHAPE, CUSTOM, MAXIMUM, SHAPE, ABS, WHILE = 9, 22, 32, 55, 77, 101, 119
"""Codes of builtin operators."""


def hand_made(  # noqa: PLR0915 - one table after another
    *,
    custom: str | None = None,
    old_code: int | None = None,
    new_code: int | None = None,
    schema: int = 3,
    tensor_type: int = 9,
    variable: bool = False,
    subgraphs: int = 1,
    operators: int = 1,
    description: str = "hand-made",
    behind: tuple[int, int] | None = None,
    reads: tuple[int, ...] = (0, -1),
    shape: tuple[int, ...] = (1, 4),
    signature: tuple[int, ...] = (),
) -> bytes:
    """Return a model whose one kind of operator reads the tensor "a" and writes "b".

    `subgraphs` and `operators` repeat references to one and the same table; `behind` is offset
    and size of data outside the flatbuffer. `reads` are the operator's inputs by number; both
    tensors have the same shape.
    """
    builder = flatbuffers.Builder(1024)
    references, integers = partial(_references, builder), partial(_integers, builder)

    custom_code = builder.CreateString(custom) if custom else None
    tflite.OperatorCodeStart(builder)
    if custom_code is not None:
        tflite.OperatorCodeAddCustomCode(builder, custom_code)
    if old_code is not None:
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, old_code)
    if new_code is not None:
        tflite.OperatorCodeAddBuiltinCode(builder, new_code)
    code = tflite.OperatorCodeEnd(builder)

    tflite.BufferStart(builder)
    if behind:
        tflite.BufferAddOffset(builder, behind[0])
        tflite.BufferAddSize(builder, behind[1])
    buffer = tflite.BufferEnd(builder)

    tensors = []
    for name in ("a", "b"):
        label = builder.CreateString(name)
        extents = integers(tflite.TensorStartShapeVector, list(shape))
        sizes = integers(tflite.TensorStartShapeSignatureVector, list(signature))
        tflite.TensorStart(builder)
        tflite.TensorAddName(builder, label)
        tflite.TensorAddShape(builder, extents)
        if signature:
            tflite.TensorAddShapeSignature(builder, sizes)
        tflite.TensorAddType(builder, tensor_type)
        tflite.TensorAddBuffer(builder, 1 if behind else 0)
        tflite.TensorAddIsVariable(builder, variable)
        tensors.append(tflite.TensorEnd(builder))

    inputs = integers(tflite.OperatorStartInputsVector, list(reads))
    outputs = integers(tflite.OperatorStartOutputsVector, [1])
    tflite.OperatorStart(builder)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    operator = tflite.OperatorEnd(builder)

    tensor_list = references(tflite.SubGraphStartTensorsVector, tensors)
    operator_list = references(tflite.SubGraphStartOperatorsVector, [operator] * operators)
    inputs = integers(tflite.SubGraphStartInputsVector, [0])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_list)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operator_list)
    subgraph = tflite.SubGraphEnd(builder)

    said = builder.CreateString(description)
    code_list = references(tflite.ModelStartOperatorCodesVector, [code])
    subgraph_list = references(tflite.ModelStartSubgraphsVector, [subgraph] * subgraphs)
    buffer_list = references(tflite.ModelStartBuffersVector, [buffer, buffer])
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, schema)
    tflite.ModelAddDescription(builder, said)
    tflite.ModelAddOperatorCodes(builder, code_list)
    tflite.ModelAddSubgraphs(builder, subgraph_list)
    tflite.ModelAddBuffers(builder, buffer_list)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def open_batch() -> bytes:  # noqa: PLR0915 - one table after another
    """Return a model that works out the shape of its output as it runs: "b" is "a", float [n, 4].

    So do models of which a converter was not told how many frames there will be. Engines know
    what SHAPE gives before they run; of MAXIMUM, here of a shape and itself, they do not.
    """
    builder = flatbuffers.Builder(1024)
    references, integers = partial(_references, builder), partial(_integers, builder)

    codes = []
    for number in (SHAPE, MAXIMUM, RESHAPE):
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, number)
        codes.append(tflite.OperatorCodeEnd(builder))
    tflite.BufferStart(builder)
    buffer = tflite.BufferEnd(builder)

    float32, int32 = 0, 2
    tensors = []
    for name, shape, kind in (
        ("a", [1, 4], float32),
        ("s", [2], int32),
        ("m", [2], int32),
        ("b", [1, 4], float32),
    ):
        label = builder.CreateString(name)
        extents = integers(tflite.TensorStartShapeVector, shape)
        tflite.TensorStart(builder)
        tflite.TensorAddName(builder, label)
        tflite.TensorAddShape(builder, extents)
        tflite.TensorAddType(builder, kind)
        tensors.append(tflite.TensorEnd(builder))

    tflite.ShapeOptionsStart(builder)
    tflite.ShapeOptionsAddOutType(builder, int32)
    shape_options, shape_kind = tflite.ShapeOptionsEnd(builder), 55
    operators = []
    for number, (reads, writes) in enumerate((([0], [1]), ([1, 1], [2]), ([0, 2], [3]))):
        inputs = integers(tflite.OperatorStartInputsVector, reads)
        outputs = integers(tflite.OperatorStartOutputsVector, writes)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, number)
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if number == 0:
            tflite.OperatorAddBuiltinOptionsType(builder, shape_kind)
            tflite.OperatorAddBuiltinOptions(builder, shape_options)
        operators.append(tflite.OperatorEnd(builder))

    tensor_list = references(tflite.SubGraphStartTensorsVector, tensors)
    operator_list = references(tflite.SubGraphStartOperatorsVector, operators)
    inputs = integers(tflite.SubGraphStartInputsVector, [0])
    outputs = integers(tflite.SubGraphStartOutputsVector, [3])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_list)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operator_list)
    subgraph = tflite.SubGraphEnd(builder)

    code_list = references(tflite.ModelStartOperatorCodesVector, codes)
    subgraph_list = references(tflite.ModelStartSubgraphsVector, [subgraph])
    buffer_list = references(tflite.ModelStartBuffersVector, [buffer])
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code_list)
    tflite.ModelAddSubgraphs(builder, subgraph_list)
    tflite.ModelAddBuffers(builder, buffer_list)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _references(builder: Any, start: Any, tables: list[int]) -> Any:
    start(builder, len(tables))
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


def _integers(builder: Any, start: Any, numbers: list[int]) -> Any:
    start(builder, len(numbers))
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return builder.EndVector()
