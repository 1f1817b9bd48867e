"""Quantizes a float .tflite file with ai-edge-quantizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import EdgeError, ModelError
from edge.workshop.convert import CALIBRATED, Mode, TensorType, end_of
from edge.workshop.framework import bring, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACTIVATIONS: dict[Mode, dict[str, Any]] = {
    "int8": {"num_bits": 8, "symmetric": False, "dtype": "INT"},
    "int16x8": {"num_bits": 16, "symmetric": True, "dtype": "INT"},
}
UINT8 = {"num_bits": 8, "symmetric": False, "dtype": "UINT"}
QUANTIZED_TYPES = ("INT4", "INT8", "UINT8", "INT16")


def quantize_tflite(
    tflite: bytes,
    mode: Mode,
    samples: NDArray[np.float32],
    *,
    input_type: TensorType | None = None,
    output_type: TensorType | None = None,
    per_channel: bool = True,
    input_range: tuple[float, float] | None = None,
) -> bytes:
    """Return a float model, quantized.

    `samples`, [n, *input shape without its batch], calibrate the ranges of activations: from the
    least to the largest value of all, as TensorFlow's converter takes them. `input_range` is the
    input's own where it is known beforehand: a pixel's. Raises ConfigError for types that do not
    go with the mode, ModelError where the file cannot be quantized.
    """
    ends = {
        "INPUT": end_of(mode, "input", input_type),
        "OUTPUT": end_of(mode, "output", output_type),
    }
    try:
        with quiet():
            recipe = _recipe(mode, ends, per_channel=per_channel)
            tflite = _with_signature(tflite)
            quantizer = bring("ai_edge_quantizer.quantizer").Quantizer(bytearray(tflite), recipe)
            found = _ranges(tflite, samples, input_range, recipe) if mode in CALIBRATED else {}
            made = quantizer.quantize(found, enable_progress_report=False)
            return bytes(made.quantized_model)
    except EdgeError:
        raise
    except Exception as error:  # whatever a foreign graph makes it raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"ai-edge-quantizer cannot quantize it to {mode}: {reason}") from error


def refuse_quantized(tflite: bytes, name: str) -> None:
    """Raise ModelError where a model's weights or activations are quantized already."""
    kinds = bring("ai_edge_quantizer.qtyping").TensorType
    try:
        with quiet():
            read = bring("ai_edge_quantizer.utils.tfl_flatbuffer_utils").read_model
            model = read(bytearray(tflite))
    except Exception as error:  # whatever a foreign graph makes it raise
        raise ModelError(f"{name}: ai-edge-quantizer cannot read it: {error}") from error
    types = {getattr(kinds, each): each for each in QUANTIZED_TYPES if hasattr(kinds, each)}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            scaled = tensor.quantization is not None and tensor.quantization.scale is not None
            if scaled and len(tensor.quantization.scale) and tensor.type in types:
                label = tensor.name.decode("utf-8", "replace")[:80]
                raise ModelError(
                    f"{name}: is quantized already (its tensor {label} is {types[tensor.type]}): "
                    "name the float model that it was made from"
                )


def _with_signature(tflite: bytes) -> bytes:
    """Return the model with a signature, which ai-edge-quantizer calls it by.

    Files that TensorFlow before 2.5 wrote have none.
    """
    tools = bring("ai_edge_litert.tools.flatbuffer_utils")
    model = tools.read_model_from_bytearray(bytearray(tflite))
    if model.signatureDefs:
        return tflite
    schema, graph = bring("ai_edge_litert.schema_py_generated"), model.subgraphs[0]
    inputs, outputs = (
        [schema.TensorMapT(f"{end}_{at}".encode(), int(tensor)) for at, tensor in enumerate(listed)]
        for end, listed in (("input", graph.inputs), ("output", graph.outputs))
    )
    model.signatureDefs = [schema.SignatureDefT(inputs, outputs, b"serving_default", 0)]
    return bytes(tools.convert_object_to_bytearray(model))


def _recipe(mode: Mode, ends: dict[str, TensorType], *, per_channel: bool) -> list[dict[str, Any]]:
    """Return the recipe: for all operators, then for input and output where they differ."""
    activations = ACTIVATIONS.get(mode)
    rules = [_rule("*", activations, per_channel=per_channel)]
    if mode not in CALIBRATED:
        return rules
    for end, wanted in ends.items():
        if wanted == "float32":
            rules.append(_rule(end, None, quantize=False))
        elif wanted == "uint8":
            rules.append(_rule(end, UINT8, per_channel=per_channel))
    return rules


def _rule(
    operation: str,
    activations: dict[str, Any] | None,
    *,
    per_channel: bool = True,
    quantize: bool = True,
) -> dict[str, Any]:
    rule: dict[str, Any] = {"regex": ".*", "operation": operation}
    if not quantize:
        return rule | {"algorithm_key": "no_quantize", "op_config": {}}
    granularity = "CHANNELWISE" if per_channel else "TENSORWISE"
    weights = {"num_bits": 8, "symmetric": True, "granularity": granularity, "dtype": "INT"}
    config: dict[str, Any] = {
        "weight_tensor_config": weights,
        "compute_precision": "INTEGER",
        "explicit_dequantize": False,
        "skip_checks": False,
        "min_weight_elements": 0,
    }
    if activations is not None:
        config["activation_tensor_config"] = {**activations, "granularity": "TENSORWISE"}
    return rule | {"algorithm_key": "min_max_uniform_quantize", "op_config": config}


def _ranges(
    tflite: bytes,
    samples: NDArray[np.float32],
    input_range: tuple[float, float] | None,
    recipe: list[dict[str, Any]],
) -> Any:
    """Return the range of each tensor, by its name, as ai-edge-quantizer has them."""
    interpreter = bring("ai_edge_litert.interpreter").Interpreter(model_content=tflite)
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        raise ModelError(
            f"it has {len(signatures)} signatures, and only files with one can be calibrated"
        )
    ((key, told),) = signatures.items()
    (name,) = told["inputs"]
    rules = bring("ai_edge_quantizer.recipe_manager").RecipeManager()
    rules.load_quantization_recipe(recipe)
    calibrator = bring("ai_edge_quantizer.calibrator").Calibrator(
        bytearray(tflite),
        num_threads=1,
        qsv_update_func=bring("ai_edge_quantizer.utils.qsv_utils").min_max_update,
    )
    calibrator.calibrate({key: [{name: sample[np.newaxis]} for sample in samples]}, rules)
    found = calibrator.get_model_qsvs()
    if input_range is not None:
        mine = found[interpreter.get_input_details()[0]["name"]]
        for end, value in zip(("min", "max"), input_range, strict=True):
            mine[end] = np.full_like(mine[end], value)
    return found
