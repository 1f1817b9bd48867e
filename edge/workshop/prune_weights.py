"""Unstructured pruning: single weights become zero while the network is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edge.errors import ModelError
from edge.workshop.training import BATCH, loss_of, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge.workshop.data import Data
    from edge.workshop.prune_settings import Scope

PEAK_LEARNING_RATE = 1e-3  # the network is trained already
STEPS_BETWEEN = 5  # raises of the sparsity
SMALL_SHARE = 0.1  # of all weights: a first or last layer with less is left whole
LEAST_LEFT = 0.02  # of a layer's weights, where all layers are weighed together
KERNELS = frozenset({"kernel", "pointwise_kernel", "recurrent_kernel", "embeddings"})


@dataclass(frozen=True, slots=True)
class Sparse:
    """A network with zeros for its weakest weights."""

    network: Any
    layers: dict[str, tuple[int, int]]
    """By name: weights, and how many of them are zero."""
    left_whole: dict[str, str]
    """Layers in which no weight was made zero, and why."""


def prune_weights(
    network: Any,
    data: Data,
    *,
    sparsity: float,
    epochs: int,
    scope: Scope,
    on_epoch: Callable[[], None] = lambda: None,
) -> Sparse:
    """Make so large a share of the weights zero, those of least magnitude.

    In the first half of the epochs the share rises by the cubic schedule of M. Zhu, S. Gupta, To
    Prune, or Not to Prune (2017), every few steps; in the second half it stands, and the best
    epoch is taken. What is zero is made so again after every single step. The network is changed.
    Raises ModelError where there is nothing to prune.
    """
    kernels = dict(_kernels(network))
    chosen, left_whole = _choose({name: each.shape for name, each in kernels.items()})
    weights = [kernels[name] for name in chosen]
    masks = [keras.Variable(np.ones(each.shape, np.float32), trainable=False) for each in weights]
    for weight, mask in zip(weights, masks, strict=True):
        weight.constraint = _Masked(mask, weight.constraint)

    def raise_to(share: float) -> None:
        magnitudes = [np.abs(each.numpy()) for each in weights]
        for weight, mask, kept in zip(
            weights, masks, keep_strongest(magnitudes, share, scope), strict=True
        ):
            mask.assign(kept.astype(np.float32))
            weight.assign(weight * mask)

    rising = epochs // 2
    if rising:
        steps = rising * -(-len(data.training) // BATCH)
        _rise(
            network,
            data,
            epochs=rising,
            at_step=lambda step: raise_to(scheduled(step / steps, sparsity)),
            on_epoch=on_epoch,
        )
    raise_to(sparsity)
    train(
        network,
        data,
        epochs=epochs - rising,
        patience=epochs,
        peak_learning_rate=PEAK_LEARNING_RATE,
        on_epoch=on_epoch,
    )
    for weight in weights:
        weight.constraint = weight.constraint.before
    layers = {
        name: (int(np.prod(each.shape)), int((each.numpy() == 0).sum()))
        for name, each in kernels.items()
    }
    return Sparse(network, layers, left_whole)


class _Masked:
    """Holds masked weights at zero: Keras calls it after each step of the optimizer."""

    def __init__(self, mask: Any, before: Any) -> None:
        self.mask, self.before = mask, before

    def __call__(self, weight: Any) -> Any:
        return (weight if self.before is None else self.before(weight)) * self.mask


def _rise(
    network: Any,
    data: Data,
    *,
    epochs: int,
    at_step: Callable[[int], None],
    on_epoch: Callable[[], None],
) -> None:
    step = 0

    def after_step(batch: int, logs: Any) -> None:  # noqa: ARG001 - by these names
        nonlocal step
        step += 1
        if step % STEPS_BETWEEN == 0:
            at_step(step)

    network.compile(keras.optimizers.Adam(PEAK_LEARNING_RATE), loss_of(network))
    network.fit(
        data.training.x,
        data.training.y,
        batch_size=BATCH,
        epochs=epochs,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_end=after_step, on_epoch_end=lambda _epoch, _logs: on_epoch()
            )
        ],
        verbose=0,
    )


def scheduled(progress: float, sparsity: float) -> float:
    """Return the share of zeros at a moment from 0 to 1: fast first, then ever slower."""
    return sparsity * (1 - (1 - min(progress, 1.0)) ** 3)


def keep_strongest(
    magnitudes: Sequence[NDArray[np.float32]], share: float, scope: Scope
) -> list[NDArray[np.bool_]]:
    """Return masks, of the same shapes, that leave out this share: of each array, or of all.

    Where all are weighed together, each keeps its strongest 2 % all the same.
    """
    if scope == "layer":
        return [_strongest(each, round(each.size * (1 - share))) for each in magnitudes]
    together = np.concatenate([each.ravel() for each in magnitudes])
    kept = _strongest(together, round(together.size * (1 - share)))
    ends = np.cumsum([each.size for each in magnitudes])[:-1]
    return [
        part.reshape(each.shape) | _strongest(each, max(1, round(each.size * LEAST_LEFT)))
        for part, each in zip(np.split(kept, ends), magnitudes, strict=True)
    ]


def _strongest(magnitudes: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    order = np.argsort(magnitudes, axis=None, kind="stable")
    kept = np.zeros(magnitudes.size, np.bool_)
    kept[order[magnitudes.size - count :]] = True
    return kept.reshape(magnitudes.shape)


def _kernels(network: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what can be pruned, by name in the order it runs: kernels, not biases or scales.

    A depthwise kernel is none: it has few weights, and each is all that a channel has.
    """
    depthwise = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    for layer in network.layers:
        name = f"{above}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _kernels(layer, f"{name}/")
        elif not isinstance(layer, depthwise):
            found = [each for each in layer.trainable_variables if each.name in KERNELS]
            for each in found:
                yield (name if len(found) == 1 else f"{name}/{each.name}"), each


def _choose(shapes: dict[str, Sequence[int]]) -> tuple[list[str], dict[str, str]]:
    """Return which kernels are pruned, and why the others are not."""
    if not shapes:
        raise ModelError("there is nothing to prune: no layer has a kernel that can be trained")
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    total = sum(sizes.values())
    ends = {"first": next(iter(sizes)), "last": next(reversed(sizes))}
    why = {
        name: f"is the {which} layer, and has {sizes[name] / total:.1%} of all weights"
        for which, name in ends.items()
        if sizes[name] < SMALL_SHARE * total
    }
    chosen = [name for name in sizes if name not in why]
    return chosen, why
