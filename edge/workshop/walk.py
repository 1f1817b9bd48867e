"""Goes through the layers of a Keras network in the order they run, nested networks and all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray


def run_through(network: Any, inputs: list[Any], step: Callable[..., Any]) -> Any:
    """Return the network that comes of calling `step(layer, *args, **kwargs)` for each layer."""
    if isinstance(network, keras.Sequential):
        output = inputs[0]
        for layer in network.layers:
            output = step(layer, output)
        return keras.Model(inputs[0], output, name=network.name)
    return keras.models.clone_model(
        network,
        input_tensors=keras.tree.pack_sequence_as(network.input, inputs),
        clone_function=lambda layer: layer,
        call_function=step,
    )


def is_network(layer: Any) -> bool:
    """Tell whether it is a network, functional or sequential, whose layers can be followed."""
    functional = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return functional or isinstance(layer, keras.Sequential)


def like(tensors: Iterable[Any]) -> list[Any]:
    """Return inputs of the same shapes and dtypes."""
    return [keras.Input(batch_shape=each.shape, dtype=each.dtype) for each in tensors]


def tensors_in(*arguments: Any) -> list[Any]:
    """Return the tensors among a layer's arguments."""
    return [each for each in keras.tree.flatten(arguments) if isinstance(each, keras.KerasTensor)]


def copy_of(layer: Any, **options: Any) -> Any:
    """Return a layer of the same options but for these, its weights not set.

    What is no layer, such as the `+` of two tensors, has no weights, and is itself.
    """
    if not isinstance(layer, keras.Layer):
        return layer
    return type(layer).from_config(layer.get_config() | options)


def weights_of(layer: Any) -> dict[str, NDArray[np.float32]]:
    """Return a layer's own weights by their names."""
    return {each.name: each.numpy() for each in layer.weights}
