"""Trains a Keras classifier: early stopping on the validation part, progress, Ctrl-C clean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.workshop.framework import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.workshop.data import Data

EPOCHS, PATIENCE, BATCH, PEAK_LEARNING_RATE = 100, 25, 32, 3e-3


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training went; the network itself holds the weights of its best epoch."""

    epochs: int
    best_epoch: int
    """From 1 on, the one with the least loss on the validation part."""
    validation_loss: float


def train(
    network: Any,
    data: Data,
    *,
    epochs: int = EPOCHS,
    patience: int = PATIENCE,
    batch: int = BATCH,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
    augment: Any = None,
    loss: Any = None,
    metric: Any = None,
    callbacks: list[Any] | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> Trained:
    """Train on the training part until the validation part's loss is best, by cosine decay.

    `augment` is a Keras layer that changes samples in training only; `loss` is the cross-entropy
    that fits the network unless told otherwise, `metric` what is least in the best epoch, if that
    is not the loss. Call `edge.workshop.seeded.repeatable` before the network is built, and the
    weights repeat.
    """
    keras = tensorflow().keras
    trained = network if augment is None else keras.Sequential([augment, network])
    batches = -(-len(data.training) // batch)
    rate = keras.optimizers.schedules.CosineDecay(peak_learning_rate, epochs * batches)
    metrics = [metric] if metric else None
    trained.compile(keras.optimizers.Adam(rate), loss or loss_of(network), metrics=metrics)
    monitor = f"val_{metric.name if metric else 'loss'}"
    stopping = keras.callbacks.EarlyStopping(
        monitor=monitor, mode="min", patience=patience, restore_best_weights=True
    )
    step = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: on_epoch())
    history = trained.fit(
        data.training.x,
        data.training.y,
        batch_size=batch,
        epochs=epochs,
        validation_data=(data.validation.x, data.validation.y),
        callbacks=[stopping, step, *(callbacks or [])],
        verbose=0,
    )
    losses = history.history[monitor]
    return Trained(len(losses), stopping.best_epoch + 1, float(losses[stopping.best_epoch]))


def loss_of(network: Any) -> Any:
    """Return the cross-entropy that fits a classifier's last activation, for indices of classes."""
    keras = tensorflow().keras
    logits = not gives_probabilities(network)
    if network.outputs[0].shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)


def gives_probabilities(network: Any) -> bool:
    """Whether a classifier ends in softmax or sigmoid; else its outputs are logits."""
    last = network.layers[-1]
    activations = tensorflow().keras.activations
    if isinstance(last, tensorflow().keras.layers.Softmax):
        return True
    return getattr(last, "activation", None) in (activations.softmax, activations.sigmoid)
