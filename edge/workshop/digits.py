"""The recipe of the demo's model: trains it, converts it to int8 and writes its card.

Run on a desktop as `python -m edge.workshop.digits`; never imported on a device. The held-out
images are for measuring only: neither training, early stopping nor calibration sees them.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import yaml
from ai_edge_litert.interpreter import Interpreter
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from edge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIDE = 8
TILES_PER_ROW = 30
HELD_OUT_IMAGES = 18 * TILES_PER_ROW  # 30 % of 1797, and the sheet's rows come out full
VALIDATION_IMAGES = 180
EPOCHS = 100
PATIENCE = 25
BATCH = 32
PEAK_LEARNING_RATE = 3e-3
MIN_ACCURACY = 0.96
MAX_SIZE_BYTES = 60_000
INPUT_SCALE = float(np.float32(1 / 255))
INPUT = {"shape": [1, SIDE, SIDE, 1], "dtype": "int8", "scale": INPUT_SCALE, "zero_point": -128}
OUTPUT = {"shape": [1, 10], "dtype": "int8", "scale": 1 / 256, "zero_point": -128}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and write everything that lies in the model's folder."""
    parser = argparse.ArgumentParser(prog="python -m edge.workshop.digits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/digits"), help="the folder")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training")
    arguments = parser.parse_args(argv)

    # Twice, a fresh process each: the card says whether a repetition gives the same bytes.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        trained, repeated = pool.map(train, [arguments.seed] * 2, chunksize=1)
    digits = split_digits(arguments.seed)
    card = describe(
        seed=arguments.seed,
        digits=digits,
        trained=trained,
        int8_correct=count_correct(trained.tflite, digits.held_out),
        reproduced=repeated.tflite == trained.tflite,
    )
    if card["accuracy"]["int8"] < MIN_ACCURACY or card["model"]["size_bytes"] >= MAX_SIZE_BYTES:
        raise ModelError(f"nothing written, too inaccurate or too large: {card}")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "digits.tflite").write_bytes(trained.tflite)
    (out / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (out / "held-out.png").write_bytes(sheet_png(digits.held_out.pixels))
    (out / "held-out.txt").write_text("".join(f"{label}\n" for label in digits.held_out.labels))
    (out / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False, width=96))
    (out / "README.md").write_text(readme(card))
    print(f"{out}: {card['model']} {card['accuracy']}")


@dataclass(frozen=True)
class Part:
    """Some of the images, with their true digits."""

    pixels: NDArray[np.uint8]  # [n, 8, 8, 1], 0..255
    labels: NDArray[np.int64]  # [n]

    @property
    def inputs(self) -> NDArray[np.float32]:
        """What the float model takes: pixel / 255."""
        return np.divide(self.pixels, 255, dtype=np.float32)


@dataclass(frozen=True)
class Digits:
    """The data set, split so that each part has every digit in proportion."""

    training: Part
    validation: Part
    held_out: Part


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind."""

    tflite: bytes
    best_epoch: int
    float_correct: int  # of the held-out images


def split_digits(seed: int) -> Digits:
    """Split the data set; the same seed gives the same parts in the same shuffled order."""
    data = load_digits()
    pixels = np.rint(data.images * 255 / 16).astype(np.uint8)[..., np.newaxis]
    rest, held_out = part_off(Part(pixels, data.target), HELD_OUT_IMAGES, seed)
    training, validation = part_off(rest, VALIDATION_IMAGES, seed)
    return Digits(training, validation, held_out)


def part_off(whole: Part, images: int, seed: int) -> tuple[Part, Part]:
    """Return the rest, and so many images with every digit in proportion."""
    rest_pixels, pixels, rest_labels, labels = train_test_split(
        whole.pixels, whole.labels, test_size=images, stratify=whole.labels, random_state=seed
    )
    return Part(rest_pixels, rest_labels), Part(pixels, labels)


def train(seed: int) -> Trained:
    """Train and convert, in a process of its own: seeds and threads are set for all of it."""
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # One thread: the order of sums must not depend on the number of cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    digits = split_digits(seed)
    network = build_network()
    shift = tf.keras.layers.RandomTranslation(1 / SIDE, 1 / SIDE, "constant", seed=seed)
    shifted = tf.keras.Sequential([shift, network])  # the shift acts in training only
    batches = -(-len(digits.training.labels) // BATCH)
    rate = tf.keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, EPOCHS * batches)
    shifted.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    stopping = tf.keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    shifted.fit(
        digits.training.inputs,
        digits.training.labels,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(digits.validation.inputs, digits.validation.labels),
        callbacks=[stopping],
        verbose=2,
    )
    answers = network.predict(digits.held_out.inputs, verbose=0).argmax(axis=1)
    return Trained(
        tflite=convert(network, digits.training),
        best_epoch=stopping.best_epoch + 1,
        float_correct=int((answers == digits.held_out.labels).sum()),
    )


def build_network(batch: int | None = None) -> Any:
    """A small CNN of nothing that tflite-runtime 2.14 does not know."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 1), batch_size=batch, name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Lambda(flatten),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def flatten(features: Any) -> Any:
    """Lay a frame's features in a row: [n, 2, 2, 64] to [n, 256], for any n.

    Keras's Flatten writes the converted model's batch of 1 into the graph, and such a model
    cannot be resized; where the batch is open, it adds operators that work out the shape.
    """
    return tf.reshape(features, [-1, math.prod(features.shape[1:])])


def convert(network: Any, training: Part) -> bytes:
    """Return the network as a full-integer int8 model of batch 1, which can be resized."""
    single = build_network(batch=1)
    single.set_weights(network.get_weights())

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        # They span exactly 0..1: whence the input's scale 1/255 and zero point -128.
        for image in training.inputs:
            yield [image[np.newaxis]]  # [1, 8, 8, 1]

    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def count_correct(tflite: bytes, part: Part) -> int:
    """Run the converted model over the images with LiteRT, as a device would."""
    interpreter = Interpreter(model_content=tflite, num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    (answered,) = interpreter.get_output_details()
    if (tensor_spec(given), tensor_spec(answered)) != (INPUT, OUTPUT):
        raise ModelError(f"converted to another input or output than promised: {given}, {answered}")
    correct = 0
    for pixels, label in zip(part.pixels, part.labels, strict=True):
        quantized = (pixels.astype(np.int16) - 128).astype(np.int8)
        interpreter.set_tensor(given["index"], quantized[np.newaxis])
        interpreter.invoke()
        correct += int(interpreter.get_tensor(answered["index"])[0].argmax() == label)
    return correct


def tensor_spec(details: dict[str, Any]) -> dict[str, Any]:
    """What the model file says of its input or output."""
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"]).name
    shape = details["shape"].tolist()
    return {"shape": shape, "dtype": dtype, "scale": scale, "zero_point": zero_point}


def sheet_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the images as one grey PNG of full rows of tiles."""
    rows = pixels.reshape(-1, TILES_PER_ROW, SIDE, SIDE)
    sheet = rows.swapaxes(1, 2).reshape(-1, TILES_PER_ROW * SIDE, 1)  # [rows * 8, 240, 1]
    return bytes(tf.io.encode_png(sheet).numpy())


def describe(
    *, seed: int, digits: Digits, trained: Trained, int8_correct: int, reproduced: bool
) -> dict[str, Any]:
    """Return the model card."""
    images = len(digits.held_out.labels)
    return {
        "name": "digits",
        "description": "One handwritten digit, 8x8 grey, to one of ten classes: the demo's model.",
        "model": {
            "file": "digits.tflite",
            "size_bytes": len(trained.tflite),
            "sha256": hashlib.sha256(trained.tflite).hexdigest(),
        },
        "input": INPUT | {"meaning": "pixel / 255; quantized: pixel - 128"},
        "output": OUTPUT | {"meaning": "softmax over the ten lines of labels.txt"},
        "accuracy": {
            "held_out_images": images,
            "float": round(trained.float_correct / images, 4),
            "float_correct": trained.float_correct,
            "int8": round(int8_correct / images, 4),
            "int8_correct": int8_correct,
            "int8_engine": f"ai-edge-litert {version('ai-edge-litert')}",
        },
        "golden": {
            "file": "digits.golden.npz",
            "meaning": "held-out images and what the model must answer to them",
            "command": "edge golden models/digits/digits.tflite models/digits/held-out.png "
            "--tile 8, once the model is made",
        },
        "data": {
            "name": "Optical Recognition of Handwritten Digits, its test part of 1797 images",
            "authors": "E. Alpaydin, C. Kaynak (1998), UCI Machine Learning Repository",
            "source": "https://doi.org/10.24432/C50P49, through sklearn.datasets.load_digits",
            "licence": "CC BY 4.0",
            "changes": "values 0..16 scaled to 0..255 and shown as tiles in held-out.png",
        },
        "split": {
            "training": len(digits.training.labels),
            "validation": len(digits.validation.labels),
            "held_out": images,
            "stratified": True,
            "calibration": "the training images, unshifted",
            "sheet": f"held-out.png, all {images} in {SIDE}x{SIDE} tiles, {TILES_PER_ROW} a row; "
            "their true labels in held-out.txt",
        },
        "recipe": {
            "command": f"python -m edge.workshop.digits --seed {seed}",
            "seed": seed,
            "best_epoch": trained.best_epoch,
            "same_bytes_when_repeated": reproduced,
            "elsewhere": "another TensorFlow or kind of processor may give other bytes",
            "versions": f"python {platform.python_version()}, tensorflow {tf.__version__}, "
            f"keras {tf.keras.__version__}, scikit-learn {version('scikit-learn')}, "
            f"numpy {np.__version__}",
        },
        "limits": {
            "images": "8x8 as the data set makes them: inked pixels counted in the 4x4 blocks of "
            "a centred 32x32 bitmap, bright on black; not for photographs",
            "classes": "ten digits; what is not a digit gets one all the same",
            "writers": "the data set does not name its 13 writers, so held-out images share them "
            "with the training: expect less on other hands",
        },
    }


def readme(card: dict[str, Any]) -> str:
    """Return the card as a page: the same figures, a section each."""
    origin = "Written by the recipe, edge/workshop/digits.py, as card.yaml is."
    lines = [f"# {card['name']}", "", card["description"], "", origin]
    for title, section in card.items():
        if isinstance(section, dict):
            lines += ["", f"## {title.capitalize()}", ""]
            lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in section.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
