"""Gets at the logits of a classifier that ends in softmax: what temperature is applied to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LEAST = 1e-7  # probability, below which no logarithm is taken
TOLERANCE = 1e-3  # of a sum of probabilities that is 1


@contextlib.contextmanager
def giving_logits(network: Any, samples: NDArray[np.float32], name: str) -> Iterator[Any]:
    """Yield the network without its last softmax: the same layers and weights, giving logits.

    Where softmax is no activation that can be taken off, but the answers to `samples`, [n, ...],
    are probabilities, it gives their logarithms: they are logits, for softmax does not change
    when all are shifted alike. The network is as it was afterwards. Raises ModelError, in the
    network's `name`, where there are no logits to be had.
    """
    last = _last_layer(network)
    activation = getattr(last, "activation", None)
    if activation is keras.activations.softmax:
        last.activation, network.predict_function = keras.activations.linear, None
        try:
            yield network
        finally:  # what was compiled before gives probabilities, in between logits
            last.activation, network.predict_function = activation, None
    elif activation is keras.activations.linear and network.outputs[0].shape[-1] > 1:
        yield network
    elif _are_probabilities(network, samples):
        logarithms = keras.ops.log(keras.ops.maximum(network.outputs[0], LEAST))
        yield keras.Model(network.inputs, logarithms, name=network.name)
    else:
        ending = getattr(activation, "__name__", type(last).__name__)
        raise ModelError(
            f"{name}: ends in {ending}, and what it answers are no probabilities of classes: there "
            "are no logits to distill. It must end in softmax, or in a linear layer with a score "
            "for each class"
        )


def _last_layer(network: Any) -> Any:
    last = network.layers[-1]
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    return last


def _are_probabilities(network: Any, samples: NDArray[np.float32]) -> bool:
    answers = np.asarray(network.predict(samples, verbose=0))
    sums = answers.sum(axis=-1)
    one = np.allclose(sums, 1, atol=TOLERANCE)
    return bool(answers.shape[-1] > 1 and (answers >= 0).all() and one)
