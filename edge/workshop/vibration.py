"""The recipe of models/vibration: an autoencoder that knows how a healthy machine vibrates.

Run on a desktop as `python -m edge.workshop.vibration`; never imported on a device. It is trained
on generated windows of healthy machines only; faulty ones serve to measure it.
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
from edge.workshop.evaluate import outputs_of, quantized, real
from edge.workshop.framework import tensorflow
from edge.workshop.golden import golden_file
from edge.workshop.log_spectrum import BANDS, CEILING_DB, FLOOR_DB, log_spectrum
from edge.workshop.recipe import command_of, run_recipe
from edge.workshop.rotating_machine import SEVERITIES, STEP_G
from edge.workshop.seeded import repeatable
from edge.workshop.vibration_card import Findings, Sample, describe
from edge.workshop.vibration_signals import FAULTY, Part, Plan, Signals, record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.workshop.rotating_machine import Fault

MODEL = "vibration.tflite"
HIDDEN, CODE = 64, 8
BATCH, PEAK_LEARNING_RATE = 64, 2e-3
SPREAD_DB = 10.0  # the network is trained on decibels divided by this
FALSE_ALARMS = 0.01
CALIBRATION = 1000  # windows, of the training
FULL = Plan(training=(60, 150), validation=(30, 100), held_out=(30, 100), faulty=10, epochs=60)
SHORT = Plan(training=(8, 60), validation=(4, 50), held_out=(4, 25), faulty=2, epochs=30)


def make(seed: int, short: bool) -> tuple[dict[str, Any], dict[str, File]]:
    """Generate, train and measure; return the card and the files of the model's folder."""
    plan = SHORT if short else FULL
    signals = Signals.generate(seed, plan)
    gapped = signals.training.where(~signals.training.in_gap)
    # A fresh process each. The second training says whether a repetition gives the same bytes,
    # the third what becomes of speeds that were never heard.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        trained, repeated, without_gap = pool.starmap(
            train,
            [
                (part.bands_db, plan.epochs, seed)
                for part in (signals.training, signals.training, gapped)
            ],
            chunksize=1,
        )
    given, answered = ends_of(trained.int8)
    samples = pick_samples(seed, plan, trained.int8)
    tensors = [quantized(sample.bands_db[np.newaxis], given) for sample in samples]
    files = {
        MODEL: File("model", trained.int8),
        "vibration.golden.npz": File(
            "golden", golden_file(MODEL, trained.int8, np.concatenate(tensors))
        ),
        "windows.npz": File("sample", raw_windows(seed, plan)),
    }
    for sample, tensor in zip(samples, tensors, strict=True):
        files[sample.file] = File("sample", as_npy(tensor))
    card = describe(
        seed=seed,
        plan=plan,
        given=given,
        answered=answered,
        float32=find(trained.float32, signals),
        int8=find(trained.int8, signals),
        linear=find_linear(signals),
        gap=false_alarms_in_gap(without_gap.int8, signals),
        samples=samples,
        reproduced=repeated == trained,
        command=command_of("vibration", seed, short=short),
    )
    return card, files


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind: the network as it is, and in int8."""

    float32: bytes
    int8: bytes


def train(bands_db: NDArray[np.float32], epochs: int, seed: int) -> Trained:
    """Train and convert, in a process of its own: seeds and threads are set for all of it."""
    repeatable(seed)
    keras = tensorflow().keras
    network = build_network()
    steps = epochs * -(-len(bands_db) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)
    network.compile(keras.optimizers.Adam(rate), "mse")
    network.fit(
        bands_db / SPREAD_DB, bands_db / SPREAD_DB, batch_size=BATCH, epochs=epochs, verbose=0
    )
    # The models take decibels and give decibels: the first layer divides, the last multiplies.
    weights = network.get_weights()
    weights[0] = weights[0] / SPREAD_DB
    weights[-2:] = [weights[-2] * SPREAD_DB, weights[-1] * SPREAD_DB]
    network.set_weights(weights)
    chosen = np.random.default_rng(seed).permutation(len(bands_db))[:CALIBRATION]
    samples = spanning(bands_db[chosen], (FLOOR_DB, CEILING_DB))
    return Trained(to_tflite(network, "float"), to_tflite(network, "int8", samples))


def build_network() -> Any:
    """Six dense layers, narrow in the middle: nothing that tflite-runtime 2.14 does not know."""
    layers = tensorflow().keras.layers
    return tensorflow().keras.Sequential(
        [
            layers.Input((BANDS,), name="bands"),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(CODE),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dense(BANDS),
        ]
    )


def scores(model: bytes, bands_db: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared error of each window's reconstruction, in dB^2: [n].

    The window is compared as the model was given it: quantized, where the model's input is.
    """
    given, _ = ends_of(model)
    (rebuilt,) = outputs_of(model, bands_db)
    taken = real(quantized(bands_db, given), given)
    return np.asarray(((taken - rebuilt).astype(np.float64) ** 2).mean(axis=1))


def find(model: bytes, signals: Signals) -> Findings:
    """Score all windows with a model."""
    return Findings.of(signals, lambda part: scores(model, part.bands_db), FALSE_ALARMS)


def find_linear(signals: Signals) -> Findings:
    """Score all windows with the best linear map through as narrow a middle, for comparison."""
    mean = signals.training.bands_db.mean(axis=0)
    axes = np.linalg.svd(signals.training.bands_db - mean, full_matrices=False)[2][:CODE]

    def linear_scores(part: Part) -> NDArray[np.float64]:
        rest = part.bands_db - mean
        rest = rest - rest @ axes.T @ axes
        return np.asarray((rest.astype(np.float64) ** 2).mean(axis=1))

    return Findings.of(signals, linear_scores, FALSE_ALARMS)


def false_alarms_in_gap(model: bytes, signals: Signals) -> float:
    """Return the share of healthy windows that alarm at speeds that this model never heard.

    Its threshold is learnt where the other's is, but without those speeds.
    """
    known = signals.validation.where(~signals.validation.in_gap)
    threshold = np.quantile(scores(model, known.bands_db), 1 - FALSE_ALARMS)
    unheard = signals.held_out.where(signals.held_out.in_gap)
    return float((scores(model, unheard.bands_db) > threshold).mean())


def pick_samples(seed: int, plan: Plan, model: bytes) -> list[Sample]:
    """Return windows of held-out machines to try the model on: healthy ones and each fault."""
    machines = plan.machines("held_out")
    picked: list[tuple[str, range, tuple[Fault, int] | None]] = [
        (f"healthy-{n + 1}", machines[n : n + 1], None) for n in range(3)
    ]
    for fault, severity in FAULTY:
        if SEVERITIES[severity] != "mild":
            name = f"{fault.replace(' ', '-')}-{SEVERITIES[severity]}"
            picked.append((name, machines[3:4], (fault, severity)))
    samples = []
    for name, machine, kind in picked:
        windows, speeds_hz = record(seed, machine, 1, kind)
        (bands_db,) = log_spectrum(windows)
        (score,) = scores(model, bands_db[np.newaxis])
        samples.append(Sample(f"{name}.npy", bands_db, float(speeds_hz[0]), float(score)))
    return samples


def raw_windows(seed: int, plan: Plan) -> bytes:
    """Return two of the samples from the sensor on, to try another computation of features on."""
    machines = plan.machines("held_out")
    healthy, _ = record(seed, machines[:1], 1)
    faulty, _ = record(seed, machines[3:4], 1, ("outer race", 1))
    windows = np.concatenate([healthy, faulty])
    file = io.BytesIO()
    np.savez_compressed(
        file,
        names=np.array(["healthy-1", "outer-race-moderate"]),
        steps=np.rint(windows / STEP_G).astype(np.int16),
        step_g=np.float64(STEP_G),
        bands_db=log_spectrum(windows),
    )
    return file.getvalue()


def as_npy(tensor: NDArray[Any]) -> bytes:
    """Return an array as the file that `numpy.save` writes."""
    file = io.BytesIO()
    np.save(file, tensor)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(run_recipe("vibration", __doc__, make))
