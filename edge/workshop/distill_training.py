"""Trains a student on the true classes alone, or by a teacher's answers, too, and else alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from edge.errors import ConfigError
from edge.workshop.logits import giving_logits
from edge.workshop.training import Trained, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.workshop.data import Data

PROBED = 64  # samples that tell whether a network answers probabilities


def train_alone(
    student: Any, data: Data, *, epochs: int, on_epoch: Callable[[], None] = lambda: None
) -> Trained:
    """Train the student on the true classes only, as `train_by` does but for the teacher."""
    with giving_logits(student, data.training.x[:PROBED], "the student") as logits:
        return train(
            logits, data, epochs=epochs, patience=epochs, loss=_cross_entropy(), on_epoch=on_epoch
        )


def train_by(
    teacher: Any,
    student: Any,
    data: Data,
    *,
    temperature: float,
    alpha: float,
    features: Sequence[tuple[str, str]] = (),
    epochs: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Trained:
    """Train the student on alpha parts of the true classes and 1 - alpha of the teacher's answers.

    The answers are compared by KL divergence at this temperature, times its square (G. Hinton, O.
    Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015). `features` are layers
    of the teacher and the student whose outputs, of one shape, shall be alike: their mean square
    is added. The best epoch is the one with the least cross-entropy on the validation part, as of
    a student alone. Raises ModelError where one of the networks gives no logits.
    """
    probe = data.training.x[:PROBED]
    with (
        giving_logits(teacher, probe, "the teacher") as knows,
        giving_logits(student, probe, "the student") as learns,
    ):
        losses = [answers_loss(temperature)]
        losses += [
            keras.distillation.FeatureDistillation("mse", theirs, ours) for theirs, ours in features
        ]
        distiller = keras.distillation.Distiller(knows, learns, losses, student_loss_weight=alpha)
        return train(
            distiller,
            data,
            epochs=epochs,
            patience=epochs,
            loss=_cross_entropy(),
            metric=keras.metrics.SparseCategoricalCrossentropy("truth", from_logits=True),
            on_epoch=on_epoch,
        )


def answers_loss(temperature: float) -> Any:
    """Return what compares two networks' logits: KL divergence, softened by the temperature.

    The loss is given as an instance: of its name Keras 3.15 makes a function, and then compares
    the logits as if they were probabilities.
    """
    return keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())


def _cross_entropy() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def check_pair(teacher: Any, student: Any, features: Sequence[tuple[str, str]] = ()) -> None:
    """Raise ConfigError where the student cannot learn from this teacher."""
    for which, one, other in (
        ("takes", teacher.inputs[0], student.inputs[0]),
        ("gives", teacher.outputs[0], student.outputs[0]),
    ):
        if tuple(one.shape[1:]) != tuple(other.shape[1:]):
            raise ConfigError(
                f"the teacher {which} {list(one.shape[1:])}, the student {list(other.shape[1:])}: "
                "they must be of one shape"
            )
    for theirs, ours in features:
        shapes = [
            _shape(network, name, whose)
            for network, name, whose in ((teacher, theirs, "teacher"), (student, ours, "student"))
        ]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"the teacher's layer {theirs!r} gives {list(shapes[0])}, the student's {ours!r} "
                f"{list(shapes[1])}: to be compared they must be of one shape"
            )


def _shape(network: Any, name: str, whose: str) -> tuple[int | None, ...]:
    for layer in network.layers:
        if layer.name == name:
            return tuple(layer.output.shape[1:])
    names = ", ".join(layer.name for layer in network.layers)
    raise ConfigError(f"the {whose} has no layer {name!r}; it has {names}")
