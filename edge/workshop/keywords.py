"""The recipe of models/keywords: eight words of command, told apart in a second of sound.

Run on a desktop as `python -m edge.workshop.keywords`; never imported on a device. It is trained on
the voices of speech synthesisers (`apt install espeak-ng flite`), for want of people's that may
be had; where Debian's few recordings of people are installed, it is measured on them as well.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.workshop.card import File
from edge.workshop.convert import spanning, to_tflite
from edge.workshop.ends import ends_of
from edge.workshop.evaluate import outputs_of, quantized
from edge.workshop.framework import tensorflow
from edge.workshop.golden import golden_file
from edge.workshop.keyword_sounds import LABELS, Plan, Sounds
from edge.workshop.keywords_card import Right, Sample, Spoken, describe
from edge.workshop.listening import CHANNELS, FRAMES
from edge.workshop.people import PLACES, listen_to_people
from edge.workshop.recipe import command_of, run_recipe
from edge.workshop.seeded import repeatable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.workshop.keyword_sounds import Part
    from edge.workshop.people import People

MODEL = "keywords.tflite"
FILTERS, KERNEL, STRIDES = 48, 9, (1, 2, 1, 1)
BATCH, PEAK_LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 64, 3e-3, 1e-3, 0.05
STEP = 26 / 256  # of the input, as TensorFlow Lite Micro's micro_speech example has it
ENDS = (0.0, 255 * STEP)
CALIBRATION = 500  # scenes, of the training
THRESHOLD = 0.6
FULL = Plan(keyword=280, other=14, invented=400, flite=30, held_out=50, scenes=2, epochs=24)
SHORT = Plan(keyword=20, other=1, invented=10, flite=1, held_out=5, scenes=1, epochs=4)


def make(seed: int, short: bool) -> tuple[dict[str, Any], dict[str, File]]:
    """Generate, train and measure; return the card and the files of the model's folder."""
    plan = SHORT if short else FULL
    sounds = Sounds.generate(seed, plan)
    people = None if short else listen_to_people(seed)
    # A fresh process each. The second training says whether a repetition gives the same bytes.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        trained, repeated = pool.starmap(
            train, [(sounds.training, plan.epochs, seed)] * 2, chunksize=1
        )
    given, answered = ends_of(trained.int8)
    samples = pick_samples(sounds.quiet, trained.int8)
    tensors = {
        sample.file: quantized(sample.features[np.newaxis], given).reshape(given.shape)
        for sample in samples
    }
    files = {
        MODEL: File("model", trained.int8),
        "labels.txt": File("labels", "".join(f"{label}\n" for label in LABELS).encode()),
        "keywords.golden.npz": File(
            "golden", golden_file(MODEL, trained.int8, np.stack(list(tensors.values())))
        ),
    }
    for name, tensor in tensors.items():
        files[name] = File("sample", as_npy(tensor))
    card = describe(
        seed=seed,
        plan=plan,
        given=given,
        answered=answered,
        threshold=THRESHOLD,
        float32=find(trained.float32, sounds),
        int8=find(trained.int8, sounds),
        people=find_people(trained.int8, people) if people else None,
        samples=samples,
        digest=sounds.digest,
        scenes=len(sounds.training),
        reproduced=repeated == trained,
        command=command_of("keywords", seed, short=short),
    )
    return card, files


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind: the network as it is, and in int8."""

    float32: bytes
    int8: bytes


def train(training: Part, epochs: int, seed: int) -> Trained:
    """Train and convert, in a process of its own: seeds and threads are set for all of it."""
    repeatable(seed)
    keras = tensorflow().keras
    network = build_network()
    rng = np.random.default_rng(seed)
    true = np.eye(len(LABELS), dtype=np.float32)[training.labels]
    steps = epochs * -(-len(training) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY),
        keras.losses.CategoricalCrossentropy(label_smoothing=SMOOTHING),
    )
    for _ in range(epochs):
        network.fit(varied(rng, training.features), true, batch_size=BATCH, verbose=0)
    chosen = rng.permutation(len(training))[:CALIBRATION]
    samples = spanning(as_input(training.features[chosen]), ENDS)
    return Trained(to_tflite(network, "float"), to_tflite(network, "int8", samples))


def build_network() -> Any:
    """Convolutions along time only: depthwise and pointwise, like those of keyword spotters.

    As S. Choi et al., "Temporal convolution for real-time keyword spotting on mobile devices"
    (Interspeech 2019), the channels of the front end are the input's channels.
    """
    layers = tensorflow().keras.layers
    stack = [layers.Input((FRAMES, 1, CHANNELS), name="features")]
    stack.append(layers.Conv2D(FILTERS, (5, 1), (2, 1), padding="same", use_bias=False))
    stack += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    for stride in STRIDES:
        stack += [
            layers.DepthwiseConv2D((KERNEL, 1), stride, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(FILTERS, 1, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    stack += [
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(len(LABELS), activation="softmax"),
    ]
    return tensorflow().keras.Sequential(stack)


def varied(rng: np.random.Generator, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features a little earlier or later, higher or lower, with gaps: [n, 49, 1, 40].

    After D. S. Park et al., "SpecAugment" (Interspeech 2019).
    """
    count = len(features)
    frames, channels = np.arange(FRAMES), np.arange(CHANNELS)
    later = np.clip(frames + rng.integers(-4, 5, (count, 1)), 0, FRAMES - 1)
    moved = features[np.arange(count)[:, np.newaxis], later]
    higher = np.clip(channels + rng.integers(-2, 3, (count, 1)), 0, CHANNELS - 1)
    moved = np.take_along_axis(moved, higher[:, np.newaxis, :], axis=2)
    for _ in range(2):
        moved[gap(rng, frames, count, 6)] = 0
    moved *= ~gap(rng, channels, count, 7)[:, np.newaxis, :]
    moved *= rng.uniform(0.85, 1.1, (count, 1, 1))
    moved += rng.normal(0, 0.5, moved.shape)
    return as_input(np.clip(moved, *ENDS))


def gap(
    rng: np.random.Generator, places: NDArray[np.int64], count: int, below: int
) -> NDArray[np.bool_]:
    """Return for each of so many samples a stretch of the places, shorter than this.

    bool [n, places].
    """
    first = rng.integers(0, len(places), (count, 1))
    length = rng.integers(0, below, (count, 1))
    return (places >= first) & (places < first + length)


def as_input(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return features, [n, FRAMES, CHANNELS], in the input's shape, [n, FRAMES, 1, CHANNELS]."""
    return np.asarray(features, np.float32)[:, :, np.newaxis]


def find(model: bytes, sounds: Sounds) -> dict[str, Right]:
    """Return how well a model does on each held-out part."""
    parts = {
        "espeak-ng, quiet": sounds.quiet,
        "espeak-ng, noisy": sounds.noisy,
        "flite, quiet": sounds.flite_quiet,
        "flite, noisy": sounds.flite_noisy,
    }
    return {
        name: Right.of(scores(model, part.features), part.labels, THRESHOLD)
        for name, part in parts.items()
    }


def find_people(model: bytes, people: People) -> Spoken:
    """Return how well a model does on the recordings of people."""
    running = scores(model, people.speech)[:, 2:].max(axis=1)
    right = []
    for word, name, features in people.keywords:
        found = scores(model, features)
        best = found.argmax(axis=1) == LABELS.index(word)
        sure = best & (found.max(axis=1) > THRESHOLD)
        right.append((word, name, int(best.sum()), int(sure.sum())))
    return Spoken(
        right, PLACES, people.minutes, len(people.speech), float((running > THRESHOLD).mean())
    )


def scores(model: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the score of each label: [n, labels]."""
    return np.asarray(outputs_of(model, as_input(features))[0])


def pick_samples(part: Part, model: bytes) -> list[Sample]:
    """Return the first scene of each label from a held-out part, right or wrong."""
    samples = []
    for index, label in enumerate(LABELS):
        at = int(np.flatnonzero(part.labels == index)[0])
        (found,) = scores(model, part.features[at : at + 1])
        best = int(found.argmax())
        samples.append(
            Sample(f"{label}.npy", part.features[at], label, LABELS[best], float(found[best]))
        )
    return samples


def as_npy(tensor: NDArray[Any]) -> bytes:
    """Return an array as the file that `numpy.save` writes."""
    file = io.BytesIO()
    np.save(file, tensor)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(run_recipe("keywords", __doc__, make))
