"""Turns a Keras network into a .tflite file: float, or quantized on real samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge.errors import ConfigError, ModelError
from edge.workshop.framework import quiet, tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Mode = Literal["float", "int8", "int8-weights", "int16x8"]
TensorType = Literal["float32", "int8", "uint8", "int16"]
ENDS: dict[Mode, tuple[TensorType, ...]] = {
    "float": ("float32",),
    "int8": ("int8", "uint8", "float32"),
    "int8-weights": ("float32",),
    "int16x8": ("float32", "int16"),
}
"""What a mode's input and output may be, the usual one first.

With int16x8 that is float32: a picture becomes int8, uint8 or float32 on a device.
"""
CALIBRATED: frozenset[Mode] = frozenset({"int8", "int16x8"})


def to_tflite(
    network: Any,
    mode: Mode,
    samples: NDArray[np.float32] | None = None,
    *,
    input_type: TensorType | None = None,
    output_type: TensorType | None = None,
    per_channel: bool = True,
) -> bytes:
    """Return a Keras network as a model of batch 1, which can be resized to several frames.

    `samples`, [n, *input shape], calibrate the ranges of activations where the mode needs them;
    input and output have the mode's usual types unless told otherwise. Raises ConfigError for
    types that do not go with the mode, ModelError where TensorFlow cannot convert the network.
    """
    tf = tensorflow()
    return convert(
        tf.lite.TFLiteConverter.from_keras_model(with_batch_of_one(network)),
        mode,
        samples,
        input_type=input_type,
        output_type=output_type,
        per_channel=per_channel,
    )


def convert(
    converter: Any,
    mode: Mode,
    samples: NDArray[np.float32] | None,
    *,
    input_type: TensorType | None = None,
    output_type: TensorType | None = None,
    per_channel: bool = True,
) -> bytes:
    """Return what a TFLiteConverter makes of its network; the rest as `to_tflite` has it."""
    tf = tensorflow()
    ends = [
        end_of(mode, name, wanted)
        for name, wanted in (("input", input_type), ("output", output_type))
    ]
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel = not per_channel  # noqa: SLF001
    if mode not in CALIBRATED:
        return _converted(converter, mode)
    if samples is None:
        raise ConfigError(f"{mode} is calibrated: samples are needed")
    converter.representative_dataset = lambda: _one_by_one(samples)
    converter.inference_input_type, converter.inference_output_type = (
        getattr(tf, end) for end in ends
    )
    sets = tf.lite.OpsSet
    kernels = (
        sets.TFLITE_BUILTINS_INT8
        if mode == "int8"
        else sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    )
    converter.target_spec.supported_ops = [kernels]
    try:
        return _converted(converter, mode)
    except ModelError:  # an operator has no such kernel: it alone stays in float
        converter.target_spec.supported_ops = [kernels, sets.TFLITE_BUILTINS]
        return _converted(converter, mode)


def _converted(converter: Any, mode: Mode) -> bytes:
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # whatever its C++ and Python raise for a graph it cannot take
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"TensorFlow cannot convert the network to {mode}: "
            f"{reason[0][:300] if reason else type(error).__name__}"
        ) from error


def end_of(mode: Mode, name: str, wanted: TensorType | None) -> TensorType:
    """Return the type of a model's input or output; ConfigError where it does not go with it."""
    if wanted is not None and wanted not in ENDS[mode]:
        raise ConfigError(
            f"the {name} of a model in {mode} can be {' or '.join(ENDS[mode])}, not {wanted}"
        )
    return wanted or ENDS[mode][0]


def _one_by_one(samples: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for sample in samples:
        yield [sample[np.newaxis]]


def spanning(samples: NDArray[np.float32], ends: tuple[float, float]) -> NDArray[np.float32]:
    """Return calibration samples, [n, ...], whose values reach both ends of a pixel's range.

    A device lets pixel 0..255 span the whole range of an integer input. Where no sample happens
    to hold both ends, the first and the last get one each in a corner: too little to move any
    activation's range, and enough to make the input's scale that of a pixel.
    """
    low, high = ends
    if np.min(samples) <= low and np.max(samples) >= high:
        return samples
    spanned = np.array(samples, np.float32)
    spanned[0].flat[0], spanned[-1].flat[-1] = low, high
    return spanned


def with_batch_of_one(network: Any) -> Any:
    """Return a network, same weights and names, that takes one sample; itself where it does.

    Where the batch is open, converted models work out shapes as they run; where it is fixed,
    Keras writes it into the shapes that Flatten and Reshape aim at, and the model cannot be
    resized. So both are replaced by one that leaves the batch to be inferred.
    """
    keras = tensorflow().keras
    if len(network.inputs) != 1:
        raise ModelError(
            f"the network takes {len(network.inputs)} inputs; only models with one can be run"
        )
    shape = network.inputs[0].shape
    if shape[0] == 1:
        return network
    if None in shape[1:]:
        raise ModelError(f"the network's input {list(shape)} is of open size: give it a fixed one")

    def replaced(layer: Any) -> Any:
        if isinstance(layer, (keras.layers.Flatten, keras.layers.Reshape)):
            return keras.layers.Lambda(_laid_out, arguments={"like": layer}, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    single = keras.Input(batch_shape=(1, *shape[1:]), name=network.inputs[0].name)
    cloned = keras.models.clone_model(network, input_tensors=single, clone_function=replaced)
    cloned.set_weights(network.get_weights())
    return cloned


def _laid_out(features: Any, like: Any) -> Any:
    """Lay a sample's features out as a Flatten or a Reshape does, for any number of samples."""
    tf = tensorflow()
    if isinstance(like, tf.keras.layers.Flatten):
        return tf.reshape(features, [-1, math.prod(features.shape[1:])])
    return tf.reshape(features, [-1, *like.compute_output_shape(features.shape)[1:]])
