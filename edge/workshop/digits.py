"""The recipe of the demo's model: trains it, converts it to int8 and writes its folder.

Run on a desktop as `python -m edge.workshop.digits`; never imported on a device. The held-out
images are for measuring only: neither training, early stopping nor calibration sees them. With
`--export FOLDER` it writes what `edge optimize` starts from: the trained network as digits.keras,
a smaller one as student.keras, untrained, and the data as digits.npz.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import multiprocessing
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.errors import ModelError
from edge.workshop.card import File, check_out, versions, write_folder
from edge.workshop.convert import to_tflite
from edge.workshop.data import Data, Part, part_off
from edge.workshop.evaluate import Score, accuracy, quantized
from edge.workshop.framework import bring, tensorflow
from edge.workshop.golden import golden_file
from edge.workshop.keras_file import as_keras_file
from edge.workshop.seeded import repeatable
from edge.workshop.training import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.tensors import TensorSpec

SIDE = 8
TILES_PER_ROW = 30
HELD_OUT_IMAGES = 18 * TILES_PER_ROW  # 30 % of 1797, and the sheet's rows come out full
VALIDATION_IMAGES = 180
MIN_ACCURACY = 0.96
MAX_SIZE_BYTES = 60_000
INPUT_SCALE = float(np.float32(1 / 255))
INPUT = {"shape": [1, SIDE, SIDE, 1], "dtype": "int8", "scale": INPUT_SCALE, "zero_point": -128}
OUTPUT = {"shape": [1, 10], "dtype": "int8", "scale": 1 / 256, "zero_point": -128}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and write the model's folder, or export what it is made from."""
    parser = argparse.ArgumentParser(prog="python -m edge.workshop.digits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/digits"), help="the folder")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="what to fill")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training")
    arguments = parser.parse_args(argv)
    seed, out, export = arguments.seed, arguments.out, arguments.export
    if export is not None:
        export.mkdir(parents=True, exist_ok=True)
        (made,) = in_processes_of_their_own([(seed, True)])
        (export / "digits.keras").write_bytes(made.network)
        (export / "student.keras").write_bytes(made.student)
        (export / "digits.npz").write_bytes(as_npz(seed))
        print(f"{export}: digits.keras, student.keras (untrained) and digits.npz")
        return
    check_out(out)
    # Twice: the card says whether a repetition gives the same bytes.
    made, repeated = in_processes_of_their_own([(seed, False)] * 2)
    digits = split_digits(seed)
    int8 = accuracy(made.tflite, digits.test, engine="litert")
    if int8.share < MIN_ACCURACY or len(made.tflite) >= MAX_SIZE_BYTES:
        raise ModelError(f"nothing written, too inaccurate or too large: {int8}")
    reproduced = repeated.tflite == made.tflite
    given, answered = described(made.tflite)
    card = describe(seed, digits, made, int8, reproduced=reproduced, given=given, answered=answered)
    inputs = quantized(digits.test.x, given)
    files = {
        "digits.tflite": File("model", made.tflite),
        "labels.txt": File("labels", lines(digits.classes)),
        "digits.golden.npz": File("golden", golden_file("digits.tflite", made.tflite, inputs)),
        "held-out.png": File("sample", sheet_png(digits.test)),
        "held-out.txt": File("sample", lines(digits.test.y.tolist())),
    }
    write_folder(out, card, files)
    print(f"{out}: {len(made.tflite):,} bytes, int8 {int8}")


@dataclass(frozen=True, slots=True)
class Made:
    """What one training leaves behind."""

    tflite: bytes
    network: bytes
    """The same as a .keras file, where that was asked for."""
    student: bytes
    """Likewise, a smaller network, untrained."""
    best_epoch: int
    float_score: Score


def split_digits(seed: int) -> Data:
    """Split the data set; the same seed gives the same parts in the same shuffled order."""
    rest, held_out, digest = load(seed)
    training, validation = part_off(rest, VALIDATION_IMAGES, seed)
    return Data(
        training,
        validation,
        held_out,
        classes=[str(digit) for digit in range(10)],
        digest=digest,
        pictures=True,
        split=f"each digit in proportion, seed {seed}",
    )


def load(seed: int) -> tuple[Part, Part, str]:
    """Return what is not held out, what is, and the SHA-256 of all pixels."""
    loaded = bring("sklearn.datasets").load_digits()
    pixels = np.rint(loaded.images * 255 / 16).astype(np.uint8)[..., np.newaxis]
    whole = Part(np.divide(pixels, 255, dtype=np.float32), loaded.target.astype(np.int64))
    rest, held_out = part_off(whole, HELD_OUT_IMAGES, seed)
    return rest, held_out, hashlib.sha256(pixels.tobytes()).hexdigest()


def pixels_of(part: Part) -> NDArray[np.uint8]:
    """Return the pictures, [n, 8, 8, 1], 0..255."""
    pixels: NDArray[np.uint8] = np.rint(part.x * 255).astype(np.uint8)
    return pixels


def as_npz(seed: int) -> bytes:
    """Return the data as keras.datasets names it; `edge optimize` splits it as we do here."""
    rest, held_out, _ = load(seed)
    file = io.BytesIO()
    np.savez_compressed(
        file,
        x_train=pixels_of(rest),
        y_train=rest.y,
        x_test=pixels_of(held_out),
        y_test=held_out.y,
    )
    return file.getvalue()


def in_processes_of_their_own(jobs: list[tuple[int, bool]]) -> list[Made]:
    """Make each from its seed in a fresh process: seeds and threads are set for all of it."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.starmap(make, jobs, chunksize=1)


def make(seed: int, export: bool) -> Made:
    """Train and convert."""
    repeatable(seed)
    keras = tensorflow().keras
    digits = split_digits(seed)
    network = build_network()
    shift = keras.layers.RandomTranslation(1 / SIDE, 1 / SIDE, "constant", seed=seed)
    trained = train(network, digits, augment=shift)
    answers = network.predict(digits.test.x, verbose=0).argmax(axis=1)
    return Made(
        tflite=to_tflite(
            with_weights_of(network, build_network(batch=1)), "int8", digits.training.x
        ),
        network=as_keras_file(without_code(network)) if export else b"",
        student=as_keras_file(build_student()) if export else b"",
        best_epoch=trained.best_epoch,
        float_score=Score(int((answers == digits.test.y).sum()), len(digits.test)),
    )


def with_weights_of(network: Any, other: Any) -> Any:
    """Return the other network with the first one's weights."""
    other.set_weights(network.get_weights())
    return other


def without_code(network: Any) -> Any:
    """Return the same network without code of ours, which no file may hold."""
    return with_weights_of(network, build_network(flatten=tensorflow().keras.layers.Flatten()))


def build_network(batch: int | None = None, flatten: Any = None) -> Any:
    """A small CNN of nothing that tflite-runtime 2.14 does not know."""
    layers = tensorflow().keras.layers
    return tensorflow().keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 1), batch_size=batch, name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            flatten or layers.Lambda(in_a_row),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def build_student() -> Any:
    """A network of an eighth of its multiply-accumulates."""
    layers = tensorflow().keras.layers
    return tensorflow().keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 1), name="image"),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(10, activation="softmax"),
        ],
        name="student",
    )


def in_a_row(features: Any) -> Any:
    """Lay a frame's features in a row: [n, 2, 2, 64] to [n, 256], for any n.

    `to_tflite` would do this to a Flatten, too; but the layer's name is in the model's bytes.
    """
    return tensorflow().reshape(features, [-1, math.prod(features.shape[1:])])


def described(tflite: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Return what the model file says of its input and its output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.tflite"
        path.write_bytes(tflite)
        engine = Engine(path, choose("litert", 1), threads=1)
    (given,), (answered,) = engine.inputs, engine.outputs
    if (tensor(given), tensor(answered)) != (INPUT, OUTPUT):
        raise ModelError(f"converted to another input or output than promised: {given}, {answered}")
    return given, answered


def tensor(spec: TensorSpec) -> dict[str, Any]:
    """Return a tensor as the card has it."""
    facts = {"shape": list(spec.shape), "dtype": spec.dtype}
    return facts | {"scale": spec.scale, "zero_point": spec.zero_point}


def lines(values: Sequence[Any]) -> bytes:
    """Return a text file of one value a line."""
    return "".join(f"{value}\n" for value in values).encode()


def sheet_png(part: Part) -> bytes:
    """Return the images as one grey PNG of full rows of tiles."""
    rows = pixels_of(part).reshape(-1, TILES_PER_ROW, SIDE, SIDE)
    sheet = rows.swapaxes(1, 2).reshape(-1, TILES_PER_ROW * SIDE, 1)  # [rows * 8, 240, 1]
    return bytes(tensorflow().io.encode_png(sheet).numpy())


def describe(
    seed: int,
    digits: Data,
    made: Made,
    int8: Score,
    *,
    reproduced: bool,
    given: TensorSpec,
    answered: TensorSpec,
) -> dict[str, Any]:
    """Return the model card."""
    images = len(digits.test)
    return {
        "name": "digits",
        "version": "1.0",
        "description": "One handwritten digit, 8x8 grey, to one of ten classes: the demo's model.",
        "licence": "Apache-2.0 (model), CC BY 4.0 (data)",
        "pipeline": {"decode": {"type": "classification"}},
        "input": tensor(given) | {"meaning": "pixel / 255; quantized: pixel - 128"},
        "output": tensor(answered) | {"meaning": "softmax over the ten lines of labels.txt"},
        "accuracy": {
            "held_out_images": images,
            "float": round(made.float_score.share, 4),
            "float_correct": made.float_score.right,
            "int8": round(int8.share, 4),
            "int8_correct": int8.right,
            "int8_engine": f"ai-edge-litert {version('ai-edge-litert')}",
        },
        "data": {
            "name": "Optical Recognition of Handwritten Digits, its test part of 1797 images",
            "authors": "E. Alpaydin, C. Kaynak (1998), UCI Machine Learning Repository",
            "source": "https://doi.org/10.24432/C50P49, through sklearn.datasets.load_digits",
            "licence": "CC BY 4.0",
            "changes": "values 0..16 scaled to 0..255 and shown as tiles in held-out.png",
            "sha256_of_pixels": digits.digest,
        },
        "split": {
            "training": len(digits.training),
            "validation": len(digits.validation),
            "held_out": images,
            "stratified": True,
            "calibration": "the training images, unshifted",
            "sheet": f"held-out.png, all {images} in {SIDE}x{SIDE} tiles, {TILES_PER_ROW} a row; "
            "their true labels in held-out.txt",
            "golden": "those held-out images whose answers say most, and what each engine answers",
        },
        "recipe": {
            "command": f"python -m edge.workshop.digits --seed {seed}",
            "seed": seed,
            "best_epoch": made.best_epoch,
            "same_bytes_when_repeated": reproduced,
            "elsewhere": "another TensorFlow or kind of processor may give other bytes",
            "versions": versions(),
        },
        "limits": {
            "images": "8x8 as the data set makes them: inked pixels counted in the 4x4 blocks of "
            "a centred 32x32 bitmap, bright on black; not for photographs",
            "classes": "ten digits; what is not a digit gets one all the same",
            "writers": "the data set does not name its 13 writers, so held-out images share them "
            "with the training: expect less on other hands",
        },
    }


if __name__ == "__main__":
    main()
