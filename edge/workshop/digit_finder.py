"""The recipe of the model `digit-finder`, which finds moving digits: trains it, writes its folder.

Run on a desktop as `python -m edge.workshop.digit_finder`; never imported on a device. All pictures
are generated. The held-out ones are of digits that are in no other picture; a second set of them
has textures of a kind that no training picture has.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.config.pipeline import Pipeline
from edge.decoders.centroids import CentroidsOptions
from edge.errors import ModelError
from edge.scenery.textures import KINDS
from edge.tensors import TensorSpec
from edge.worker.prepare import prepare
from edge.workshop.card import File, check_out, versions, write_folder
from edge.workshop.convert import spanning, to_tflite
from edge.workshop.detection import (
    CLASSES,
    GRID,
    MOST_DIGITS,
    RESIZE,
    SIDE,
    Picture,
    Tally,
    pictures,
    targets,
)
from edge.workshop.framework import tensorflow
from edge.workshop.golden import golden_file
from edge.workshop.seeded import repeatable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

NAME = "digit-finder"
MODEL = f"{NAME}.tflite"
UNSEEN_KIND = "checks"
SEEN_KINDS = tuple(kind for kind in KINDS if kind != UNSEEN_KIND)
BATCH = 32
PEAK_LEARNING_RATE = 4e-3
CALIBRATION = 200
MIN_F1 = 0.8
MAX_SIZE_BYTES = 100_000
THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
SAMPLES = (4, 11, 17)  # of the held-out scenes
GOLDEN_INPUTS, GOLDEN_LEVEL = 4, 32


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is drawn and trained."""

    training: int
    """Pictures."""
    validation: int
    held_out: int
    """Pictures of each of the two sets."""
    epochs: int


FULL = Extent(training=16_000, validation=500, held_out=1_000, epochs=14)
SHORT = Extent(training=64, validation=20, held_out=20, epochs=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and write the model's folder."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models") / NAME, help="the folder")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures and the training")
    parser.add_argument("--short", action="store_true", help="little data, hardly trained: a try")
    parser.add_argument(
        "--twice", action="store_true", help="train twice, and tell whether the bytes are the same"
    )
    arguments = parser.parse_args(argv)
    seed, out, extent = arguments.seed, arguments.out, SHORT if arguments.short else FULL
    check_out(out)
    times = 2 if arguments.twice else 1
    with multiprocessing.get_context("spawn").Pool(times, maxtasksperchild=1) as pool:
        made, *repeated = pool.starmap(make, [(seed, extent)] * times, chunksize=1)
    unseen = held_out(seed, extent)
    drawn = unseen["seen_kinds"]
    int8 = {name: judged(made.tflite, some, made.threshold) for name, some in unseen.items()}
    best = int8["seen_kinds"].f1
    if not arguments.short and (best < MIN_F1 or len(made.tflite) > MAX_SIZE_BYTES):
        raise ModelError(f"nothing written: F1 {best:.4f}, {len(made.tflite):,} bytes")
    reproduced = repeated[0].tflite == made.tflite if repeated else "not tried: --twice"
    card = describe(seed, extent, made, int8, reproduced=reproduced)
    shown = {f"scene-{place}.jpg": drawn[number] for place, number in enumerate(SAMPLES, 1)}
    card["samples"] = {name: truth_of(picture) for name, picture in shown.items()}
    files = {
        MODEL: File("model", made.tflite),
        "labels.txt": File("labels", "".join(f"{digit}\n" for digit in range(CLASSES)).encode()),
        f"{NAME}.golden.npz": File("golden", golden(made.tflite, drawn)),
        **{name: File("sample", as_jpeg(picture.frame)) for name, picture in shown.items()},
    }
    write_folder(out, card, files)
    print(f"{out}: {len(made.tflite):,} bytes, held-out F1 {best:.4f} (int8)")


@dataclass(frozen=True, slots=True)
class Made:
    """What one training leaves behind."""

    tflite: bytes
    parameters: int
    threshold: float
    """At which it is best on the validation pictures."""
    float_tallies: dict[str, Tally]
    """How right the float network is, by the set of held-out pictures."""


def held_out(seed: int, extent: Extent) -> dict[str, list[Picture]]:
    """Return the held-out pictures: over textures of the kinds trained on, and of another one."""
    kinds = {"seen_kinds": SEEN_KINDS, "unseen_kind": (UNSEEN_KIND,)}
    return {
        name: list(pictures("held_out", extent.held_out, seed, kinds=some))
        for name, some in kinds.items()
    }


def make(seed: int, extent: Extent) -> Made:
    """Train and convert, in a process of its own: seeds and threads are set for all of it."""
    repeatable(seed)
    drawn = Cells.of(pictures("training", extent.training, seed, kinds=SEEN_KINDS))
    network = build_network()
    fit(network, drawn, seed, extent.epochs)
    validation = list(pictures("validation", extent.validation, seed, kinds=SEEN_KINDS))
    answers = answered(network, validation)
    tallies = {tried: found_in(answers, validation, tried) for tried in THRESHOLDS}
    threshold = max(THRESHOLDS, key=lambda tried: tallies[tried].f1)
    float_tallies = {
        name: found_in(answered(network, some), some, threshold)
        for name, some in held_out(seed, extent).items()
    }
    calibration = spanning(as_inputs(drawn.pixels[:CALIBRATION]), (0, 1))
    tflite = to_tflite(network, "int8", calibration)
    return Made(tflite, network.count_params(), threshold, float_tallies)


@dataclass(frozen=True, slots=True)
class Cells:
    """Pictures to train with, and what each cell of their grids has to say."""

    pixels: NDArray[np.uint8]  # [n, 96, 96, 3], RGB
    classes: NDArray[np.int64]  # [n, 12, 12]
    weights: NDArray[np.float32]  # [n, 12, 12]

    @classmethod
    def of(cls, drawn: Iterable[Picture]) -> Self:
        """Return them for some pictures."""
        rows = [(picture.tensor, *targets(picture)) for picture in drawn]
        pixels, classes, weights = zip(*rows, strict=True)
        return cls(np.stack(pixels), np.stack(classes), np.stack(weights))


def as_inputs(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the float network takes: RGB pixel / 255, [n, 96, 96, 3]."""
    return np.divide(pixels, 255, dtype=np.float32)


def answered(network: Any, drawn: Sequence[Picture]) -> NDArray[np.float32]:
    """Return the float network's answers, [n, 12, 12, 11]."""
    inputs = as_inputs(np.stack([picture.tensor for picture in drawn]))
    answers: NDArray[np.float32] = network.predict(inputs, verbose=0)
    return answers


def found_in(answers: NDArray[np.float32], drawn: Sequence[Picture], threshold: float) -> Tally:
    """Return how right the float network's answers, [n, 12, 12, 11], are at a threshold."""
    spec = TensorSpec("grid", (1, GRID, GRID, CLASSES + 1), "float32")
    decode = CentroidsOptions(type="centroids", threshold=threshold).make([spec], [])
    tally = Tally()
    for answer, picture in zip(answers, drawn, strict=True):
        tally.take(decode([answer[np.newaxis]], picture.geometry), picture)
    return tally


def build_network() -> Any:
    """Return the network, [n, 96, 96, 3] to [n, 12, 12, 11], of nothing tflite-runtime lacks.

    A cell sees 65 x 65 pixels around it: more than the largest digit.
    """
    layers = tensorflow().keras.layers

    def activated(features: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(features))

    def convolved(features: Any, filters: int, side: int, stride: int = 1) -> Any:
        convolution = layers.Conv2D(filters, side, stride, padding="same", use_bias=False)
        return activated(convolution(features))

    def separable(features: Any, filters: int) -> Any:
        depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        return convolved(activated(depthwise(features)), filters, 1)

    image = layers.Input((SIDE, SIDE, 3), name="image")
    features = convolved(image, 16, 3, 2)  # [n, 48, 48, 16]
    features = convolved(layers.MaxPool2D()(features), 48, 3)  # [n, 24, 24, 48]
    features = convolved(layers.MaxPool2D()(features), 96, 3)  # [n, 12, 12, 96]
    for _ in range(2):
        features = layers.Add()([features, separable(features, 96)])
    grid = layers.Conv2D(CLASSES + 1, 1, activation="softmax", name="grid")(features)
    return tensorflow().keras.Model(image, grid)


def fit(network: Any, drawn: Cells, seed: int, epochs: int) -> None:
    """Train; each time a picture comes its colours change places, and half become negatives."""
    optimizers = tensorflow().keras.optimizers
    batches = len(drawn.pixels) // BATCH
    rate = optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, epochs * batches)
    network.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        loss = 0.0
        order = rng.permutation(len(drawn.pixels))[: batches * BATCH].reshape(batches, BATCH)
        for chosen in order:
            inputs = as_inputs(drawn.pixels[chosen])
            channels = rng.permuted(np.tile(np.arange(3), (BATCH, 1)), axis=1)
            inputs = np.take_along_axis(inputs, channels[:, np.newaxis, np.newaxis], axis=3)
            negative = rng.random(BATCH) < 1 / 2
            inputs[negative] = 1 - inputs[negative]
            weights = drawn.weights[chosen]
            loss = network.train_on_batch(inputs, drawn.classes[chosen], sample_weight=weights)
        print(f"epoch {epoch + 1} of {epochs}: loss {float(loss):.4f}", flush=True)


def judged(tflite: bytes, drawn: Sequence[Picture], threshold: float) -> Tally:
    """Return how right the model is on frames that go the runtime's whole way."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        path.write_bytes(tflite)
        options = Pipeline.model_validate(
            {
                "source": {"type": "synthetic"},
                "model": {"path": path, "resize": RESIZE, "engine": "litert"},
                "decode": decoding(threshold),
            }
        )
        prepared = prepare(options)
        tensor = prepared.preprocess.buffer()
        for picture in drawn:
            geometry = prepared.preprocess(picture.frame, tensor)
            tally.take(prepared.decode(prepared.engine.run(tensor), geometry), picture)
    return tally


def decoding(threshold: float) -> dict[str, Any]:
    """Return the decoder's options, as a YAML has them."""
    return {"type": "centroids", "threshold": threshold}


def golden(tflite: bytes, drawn: Sequence[Picture]) -> bytes:
    """Return the golden file of some scenes with fewer levels of brightness: they pack better."""
    few = np.stack([picture.tensor for picture in drawn[: 8 * GOLDEN_INPUTS]])
    coarse = (few // GOLDEN_LEVEL * GOLDEN_LEVEL).astype(np.int16) - 128  # the pixel's own bits
    return golden_file(MODEL, tflite, coarse.astype(np.int8), keep=GOLDEN_INPUTS)


def truth_of(picture: Picture) -> str:
    """Return which digits are in a picture, and where, in pixels."""
    height, width = picture.frame.shape[:2]
    told = [
        f"{each.label} at {each.x * width:.0f}, {each.y * height:.0f}" for each in picture.digits
    ]
    return "; ".join(told) or "no digit"


def as_jpeg(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame as a file."""
    return bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def describe(
    seed: int, extent: Extent, made: Made, int8: dict[str, Tally], *, reproduced: bool | str
) -> dict[str, Any]:
    """Return the model card."""
    figures = {
        f"{kind}_{name}": tally.card
        for name in int8
        for kind, tally in (("float", made.float_tallies[name]), ("int8", int8[name]))
    }
    by_class = [
        {
            "digit": digit,
            **{f"float {key}": value for key, value in before.items()},
            **{f"int8 {key}": value for key, value in after.items()},
        }
        for digit, (before, after) in enumerate(
            zip(made.float_tallies["seen_kinds"].by_class, int8["seen_kinds"].by_class, strict=True)
        )
    ]
    return {
        "name": NAME,
        "version": "1.0",
        "description": "Where handwritten digits are in a picture, and which they are.",
        "licence": "Apache-2.0 (model), CC BY 4.0 (the digits it was trained on)",
        "pipeline": {"decode": decoding(made.threshold), "model": {"resize": RESIZE}},
        "input": {
            "shape": [1, SIDE, SIDE, 3],
            "dtype": "int8",
            "meaning": "RGB, pixel - 128; frames of other shapes are letterboxed",
        },
        "output": {
            "shape": [1, GRID, GRID, CLASSES + 1],
            "dtype": "int8",
            "meaning": "softmax of each cell of 8x8 pixels; class 0 is the background, 1 is the "
            "digit 0",
        },
        "accuracy": {
            "rule": "right is a digit of that class with its middle at most a cell away, 8 of 96 "
            "pixels, across and down; a digit is found once",
            "pictures": extent.held_out,
            **figures,
            "int8_engine": f"ai-edge-litert {version('ai-edge-litert')}, the runtime's whole way "
            "from frame to predictions",
        },
        "by_class": by_class,
        "data": {
            "pictures": f"generated: 0 to {MOST_DIGITS} digits over textures, with lines and "
            "fragments of digits that are none, blur and noise; edge/scenery",
            "digits": "Optical Recognition of Handwritten Digits, E. Alpaydin, C. Kaynak (1998), "
            "https://doi.org/10.24432/C50P49, CC BY 4.0: 1797 of 8x8 pixels, enlarged",
            "training": f"{extent.training:,} pictures of the 1,077 training digits over "
            f"{', '.join(SEEN_KINDS)}",
            "held_out": f"{extent.held_out:,} pictures of the 540 held-out digits over other "
            f"textures of these kinds, and as many over {UNSEEN_KIND}, which training has not",
            "validation": f"{extent.validation:,} pictures of the 180 validation digits, for the "
            "choice of the network, its training and the threshold",
            "calibration": f"the first {CALIBRATION} training pictures",
        },
        "recipe": {
            "command": f"python -m {__spec__.name} --seed {seed}",
            "seed": seed,
            "epochs": extent.epochs,
            "parameters": made.parameters,
            "same_bytes_when_repeated": reproduced,
            "elsewhere": "another TensorFlow or kind of processor may give other bytes",
            "versions": versions(),
        },
        "limits": {
            "size": "digits of a fifth to a third of the picture's longer side; smaller or larger "
            "ones are missed",
            "place": "the middle only, as fine as the grid lets it be; two digits of a class in "
            "neighbouring cells are told as one",
            "scenes": "drawn, not photographed: expect less of a camera's pictures",
            "textures": "of a kind it was not trained on it finds fewer: see unseen_kind above",
            "writers": "the data set does not name its 13 writers, so held-out digits share them "
            "with the training: expect less on other hands",
        },
    }


if __name__ == "__main__":
    main()
