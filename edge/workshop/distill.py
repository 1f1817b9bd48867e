"""Trains a student alone and by a teacher, converts all three, and finds out what it brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from edge.workshop.chance import Gain, gain
from edge.workshop.distill_training import check_pair, train_alone, train_by
from edge.workshop.standing import Standing, check_classes, converted, standings

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.workshop.data import Data, Input
    from edge.workshop.distill_settings import Settings
    from edge.workshop.training import Trained

ALONE, DISTILLED, TEACHER = "student alone", "student distilled", "teacher"


@dataclass(frozen=True, slots=True)
class Distilled:
    """The distilled student, and how it stands beside its teacher and itself alone."""

    student: Any
    trained: dict[str, Trained]
    standings: dict[str, list[Standing]]
    """By network: in float, and in int8."""

    @property
    def tflite(self) -> bytes:
        """The model: the distilled student, int8."""
        return self.standings[DISTILLED][1].tflite

    def gain(self, mode: int) -> Gain:
        """What the student gained by its teacher, in float (0) or int8 (1); below 0 it lost."""
        return gain(self.standings[DISTILLED][mode].right, self.standings[ALONE][mode].right)


def distill(
    teacher: Any,
    student: Any,
    form: Input,
    data: Data,
    *,
    settings: Settings,
    on_step: Callable[[str, int], Callable[[], None]],
) -> Distilled:
    """Train two copies of the student, alike but for the teacher, and measure all three.

    Both begin with the same weights and see the same batches. `on_step` is told what is done.
    Raises ConfigError where the networks or the data do not fit, ModelError where one of the
    networks gives no logits or cannot be converted.
    """
    check_pair(teacher, student, settings.features)
    check_classes(teacher, data, "the teacher")
    check_classes(student, data, "the student")
    alone = _copy(student, settings)
    on_epoch = on_step("training the student alone", settings.epochs)
    trained = {ALONE: train_alone(alone, data, epochs=settings.epochs, on_epoch=on_epoch)}
    learner = _copy(student, settings)
    trained[DISTILLED] = train_by(
        teacher,
        learner,
        data,
        temperature=settings.temperature,
        alpha=settings.alpha,
        features=settings.features,
        epochs=settings.epochs,
        on_epoch=on_step("training the student by the teacher", settings.epochs),
    )
    on_step("converting", 0)
    networks = {TEACHER: teacher, ALONE: alone, DISTILLED: learner}
    models = {
        name: converted(network, form, data, settings.samples) for name, network in networks.items()
    }
    found = standings(models, data, seconds=settings.seconds, on_step=on_step)
    by_network = {name: [each for each in found if each.network == name] for name in networks}
    return Distilled(learner, trained, by_network)


def _copy(student: Any, settings: Settings) -> Any:
    """Return a copy, all that is random set anew: what is drawn from here on is drawn again."""
    keras.utils.set_random_seed(settings.seed)
    copy = type(student).from_config(student.get_config())
    if not settings.fresh:
        copy.set_weights(student.get_weights())
    keras.utils.set_random_seed(settings.seed)
    return copy


def card_of(made: Distilled, settings: Settings) -> dict[str, Any]:
    """Return what a card says of it, and `--json` prints: figures by topic."""
    subject = made.standings[DISTILLED][1].cost.subject
    return {
        "distillation": {
            "loss": f"{settings.alpha:g} x cross-entropy with the true classes + "
            f"{1 - settings.alpha:g} x KL divergence from the teacher's answers, both softened, "
            "times temperature squared",
            "temperature": settings.temperature,
            "alpha": settings.alpha,
            "features": [f"{theirs} -> {ours}" for theirs, ours in settings.features] or "none",
            "epochs": settings.epochs,
            "best_epoch": {name: each.best_epoch for name, each in made.trained.items()},
            "student_alone": "the same weights to begin with, the same batches, the same epochs, "
            "without the teacher",
            "student_began_with": "weights drawn anew" if settings.fresh else "its file's weights",
        },
        "figures": [each.card for rows in made.standings.values() for each in rows],
        "compared": {
            "what": "the student distilled against alone, on the held-out samples",
            "float": made.gain(0).card,
            "int8": made.gain(1).card,
            "within_chance": made.gain(1).by_chance,
        },
        "latency": {
            "what": "the forward pass alone, warm, in turns, milliseconds",
            "engine": f"{subject.engine} {subject.engine_version}, {subject.threads} thread",
        },
        "limits": {
            "chance": "the interval tells what other held-out samples might show; a training with "
            "another seed differs, too",
        },
    }
