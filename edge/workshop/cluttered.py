"""The harder task: one digit in a small colour picture, over textures and among distractors.

`python -m edge.workshop.cluttered --export FOLDER` draws the data, trains the teacher, and writes
what `edge optimize` starts from: cluttered.npz, teacher.keras and student.keras, untrained. The
held-out pictures are made of glyphs that are in no other picture.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.config.model import Model
from edge.scenery.glyphs import paint
from edge.scenery.scenes import Background, any_ink, any_pose, as_taken
from edge.workshop.data import Input, read_data
from edge.workshop.evaluate import score
from edge.workshop.framework import tensorflow
from edge.workshop.glyphs import PARTS, PartName, glyphs
from edge.workshop.seeded import repeatable
from edge.workshop.training import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.workshop.evaluate import Score

SIDE = 32
CLASSES = 10
DIGIT_PX = (18.0, 28.0)
OFF_CENTRE_PX = 4.0
DISTRACTOR_PX = 14.0
BLUR, GRAIN = 1.0, 10.0  # at the most: sigma in pixels, and in steps of 255
BATCH = 64
STREAM = 2  # of random numbers: a scene of the same seed draws from others


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is drawn and trained."""

    training: int
    """Pictures, a seventh of them of validation glyphs: as many of each part as it has glyphs."""
    held_out: int
    epochs: int


FULL = Extent(training=10_500, held_out=2_000, epochs=20)
SHORT = Extent(training=1_400, held_out=200, epochs=4)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, train and write."""
    parser = argparse.ArgumentParser(prog="python -m edge.workshop.cluttered", description=__doc__)
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER", help="what to fill")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training")
    parser.add_argument("--short", action="store_true", help="little data, hardly trained: a try")
    arguments = parser.parse_args(argv)
    extent = SHORT if arguments.short else FULL
    folder: Path = arguments.export
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cluttered-", dir=folder) as beside:
        made = Path(beside)
        write_data(made / "cluttered.npz", extent, arguments.seed)
        teacher, right = trained_teacher(made / "cluttered.npz", extent, arguments.seed)
        student = build_student()
        plain = build_teacher()  # without the optimizer's state, twice the size of the weights
        plain.set_weights(teacher.get_weights())
        plain.save(made / "teacher.keras")
        student.save(made / "student.keras")
        for file in sorted(made.iterdir()):
            file.replace(folder / file.name)
    print(
        f"{folder}: cluttered.npz ({extent.training:,} pictures and {extent.held_out:,} held out), "
        f"teacher.keras ({teacher.count_params():,} parameters, held-out accuracy {right}), "
        f"student.keras ({student.count_params():,} parameters, untrained)"
    )


def pictures(part: PartName, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw so many pictures of one part's glyphs, all digits alike often.

    Returns RGB [n, 32, 32, 3] and the digits [n]. Each picture has random numbers of its own, so
    the first ones are the same whatever their count.
    """
    of = glyphs(part)
    x = np.empty((count, SIDE, SIDE, 3), np.uint8)
    y = np.arange(count, dtype=np.int64) % CLASSES
    having = [np.flatnonzero(of.labels == digit) for digit in range(CLASSES)]
    for number, digit in enumerate(y.tolist()):
        rng = np.random.default_rng([seed, PARTS.index(part), STREAM, number])
        drawn = Background.draw(rng, (SIDE, SIDE), of, scale_px=DISTRACTOR_PX)
        across, down = SIDE / 2 + rng.uniform(-OFF_CENTRE_PX, OFF_CENTRE_PX, 2)
        pose = any_pose(rng, (across, down), rng.uniform(*DIGIT_PX))
        ink = any_ink(rng, drawn.ink_colour(rng))
        paint(drawn.pixels, of.ink[rng.choice(having[digit])], pose, ink)
        blur, grain = rng.uniform(0, BLUR), rng.uniform(0, GRAIN)
        x[number] = as_taken(rng, drawn.pixels, blur=blur, grain=grain)[..., ::-1]  # BGR to RGB
    return x, y


def write_data(path: Path, extent: Extent, seed: int) -> None:
    """Write the .npz: x_train, y_train, x_test, y_test, as keras.datasets has them.

    Training pictures are of training and validation glyphs, in proportion; the test part is of
    the held-out ones. Which of the training pictures validate, `read_data` draws by its seed.
    """
    validating = extent.training // 7  # 180 of 1257 glyphs
    x, y = pictures("training", extent.training - validating, seed)
    more_x, more_y = pictures("validation", validating, seed)
    x_test, y_test = pictures("held_out", extent.held_out, seed)
    np.savez_compressed(
        path,
        x_train=np.concatenate([x, more_x]),
        y_train=np.concatenate([y, more_y]),
        x_test=x_test,
        y_test=y_test,
    )


def trained_teacher(data: Path, extent: Extent, seed: int) -> tuple[Any, Score]:
    """Train the teacher on this file's data; return it and how often it is right, held out."""
    repeatable(seed)
    form = Input((SIDE, SIDE, 3), Model.model_validate({"path": "teacher.keras"}))
    read = read_data(data, form, seed=seed)
    teacher = build_teacher()
    epochs = itertools.count(1)
    train(
        teacher,
        read,
        epochs=extent.epochs,
        batch=BATCH,
        on_epoch=lambda: print(f"the teacher: epoch {next(epochs)} of {extent.epochs}"),
    )
    return teacher, score(teacher.predict(read.test.x, verbose=0), read.test)


def build_teacher() -> Any:
    """A good network for this task: five convolutions with batch normalization."""
    layers = tensorflow().keras.layers
    return tensorflow().keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3), name="image"),
            *_normalized(32, strides=2),
            *_normalized(32),
            layers.MaxPool2D(),
            *_normalized(64),
            *_normalized(64),
            layers.MaxPool2D(),
            *_normalized(128),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(CLASSES, activation="softmax"),
        ],
        name="teacher",
    )


def build_student() -> Any:
    """A network of a thirtieth of the teacher's multiply-accumulates."""
    layers = tensorflow().keras.layers
    return tensorflow().keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3), name="image"),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(CLASSES, activation="softmax"),
        ],
        name="student",
    )


def _normalized(filters: int, strides: int = 1) -> list[Any]:
    layers = tensorflow().keras.layers
    return [
        layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ]


if __name__ == "__main__":
    main()
