"""The recipe of models/vibration: an autoencoder that knows how a healthy machine vibrates.

Run on a desktop as `python -m edge.workshop.vibration`; never imported on a device. It is trained
on generated windows of healthy machines only; faulty ones serve to measure it.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from edge.errors import ModelError
from edge.workshop.card import File, check_out, versions, write_folder
from edge.workshop.convert import to_tflite
from edge.workshop.evaluate import outputs_of, quantized
from edge.workshop.framework import tensorflow
from edge.workshop.golden import golden_file
from edge.workshop.log_spectrum import BANDS, CEILING_DB, FLOOR_DB, log_spectrum
from edge.workshop.rotating_machine import (
    ADDED_G,
    FAULTS,
    RATE_HZ,
    SEVERITIES,
    SPEEDS_HZ,
    STEP_G,
    WINDOW,
    Fault,
    Machine,
)
from edge.workshop.seeded import repeatable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HIDDEN, CODE = 64, 8
BATCH, PEAK_LEARNING_RATE = 64, 2e-3
SPREAD_DB = 10.0  # the network is trained on decibels divided by this
FALSE_ALARMS = 0.01
LOADS = (0.3, 1.0)
GAP_HZ = (30.0, 32.0)  # speeds that a second network never hears
OUTSIDE_HZ = (50.0, 55.0)  # faster than any training
"""Speeds for the question what a machine at a speed that training never had looks like."""


@dataclass(frozen=True)
class Plan:
    """How much is generated and how long is trained."""

    training: tuple[int, int]  # machines, windows of each
    validation: tuple[int, int]
    held_out: tuple[int, int]
    faulty: int  # windows of each held-out machine, fault and severity
    epochs: int


FULL = Plan(training=(60, 150), validation=(30, 100), held_out=(30, 100), faulty=10, epochs=60)
SHORT = Plan(training=(8, 60), validation=(4, 50), held_out=(4, 25), faulty=2, epochs=30)


def main(argv: Sequence[str] | None = None) -> None:
    """Generate, train, measure and write everything that lies in the model's folder."""
    parser = argparse.ArgumentParser(prog="python -m edge.workshop.vibration", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/vibration"), help="the folder")
    parser.add_argument("--seed", type=int, default=0, help="of the signals and the training")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes: a trial")
    arguments = parser.parse_args(argv)
    check_out(arguments.out)
    write_folder(arguments.out, *make(arguments.seed, SHORT if arguments.short else FULL))
    print((arguments.out / "README.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Part:
    """Windows of some machines, as the model takes them."""

    bands_db: NDArray[np.float32]  # [n, BANDS]
    speeds_hz: NDArray[np.float64]  # [n]

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """Return some of them."""
        return Part(self.bands_db[chosen], self.speeds_hz[chosen])

    @property
    def in_gap(self) -> NDArray[np.bool_]:
        """Which of them turn at a speed that the second network never hears, [n]."""
        return (self.speeds_hz >= GAP_HZ[0]) & (self.speeds_hz < GAP_HZ[1])


def record(
    seed: int,
    machines: range,
    windows: int,
    *,
    fault: Fault | None = None,
    severity: int = 0,
    speeds_hz: tuple[float, float] = SPEEDS_HZ,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return windows in g, [n, WINDOW], of these machines at drawn speeds and loads, and speeds."""
    recorded, speeds = [], []
    kind = FAULTS.index(fault) + 1 if fault else 0
    for number in machines:
        machine = Machine.build(seed, number)
        rng = np.random.default_rng([seed, number, kind, severity, int(speeds_hz[0])])
        for _ in range(windows):
            speeds.append(rng.uniform(*speeds_hz))
            added_g = ADDED_G[fault][severity] if fault else 0.0
            load = rng.uniform(*LOADS)
            recorded.append(
                machine.record(rng, speed_hz=speeds[-1], load=load, fault=fault, added_g=added_g)
            )
    return np.stack(recorded), np.array(speeds)


def heard(*args: Any, **kwargs: Any) -> Part:
    """Record windows as `record` does, and return their features."""
    windows, speeds_hz = record(*args, **kwargs)
    return Part(log_spectrum(windows), speeds_hz)


@dataclass(frozen=True)
class Signals:
    """All that is generated; no machine is in two parts."""

    training: Part
    validation: Part
    held_out: Part
    outside: Part  # of the held-out machines, too fast
    faulty: dict[tuple[Fault, int], Part]  # by fault and severity, of the held-out machines

    @staticmethod
    def generate(seed: int, plan: Plan) -> Signals:
        """Return the same for the same seed and plan."""
        ends = np.cumsum([0, plan.training[0], plan.validation[0], plan.held_out[0]])
        training, validation, held_out = (
            range(int(ends[i]), int(ends[i + 1])) for i in range(3)
        )
        return Signals(
            training=heard(seed, training, plan.training[1]),
            validation=heard(seed, validation, plan.validation[1]),
            held_out=heard(seed, held_out, plan.held_out[1]),
            outside=heard(seed, held_out, plan.faulty, speeds_hz=OUTSIDE_HZ),
            faulty={
                (fault, severity): heard(
                    seed, held_out, plan.faulty, fault=fault, severity=severity
                )
                for fault in FAULTS
                for severity in range(len(SEVERITIES))
            },
        )


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind: the network as it is, and in int8."""

    float32: bytes
    int8: bytes


def train(training: Part, validation: Part, epochs: int, seed: int) -> Trained:
    """Train and convert, in a process of its own: seeds and threads are set for all of it."""
    repeatable(seed)
    keras = tensorflow().keras
    network = build_network()
    steps = epochs * -(-len(training.bands_db) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)
    network.compile(keras.optimizers.Adam(rate), "mse")
    heard, unheard = training.bands_db / SPREAD_DB, validation.bands_db / SPREAD_DB
    network.fit(
        heard,
        heard,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(unheard, unheard),
        verbose=2,
    )
    return convert(network, training.bands_db)


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


def convert(network: Any, bands_db: NDArray[np.float32]) -> Trained:
    """Return a trained network as models that take decibels and give decibels.

    The division by SPREAD_DB goes into the weights of the first layer, the multiplication into
    those of the last. Calibration spans all that a window's features can be, for the input's sake.
    """
    weights = network.get_weights()
    weights[0] = weights[0] / SPREAD_DB
    weights[-2], weights[-1] = weights[-2] * SPREAD_DB, weights[-1] * SPREAD_DB
    whole = build_network()
    whole.set_weights(weights)
    samples = spanning(bands_db, (FLOOR_DB, CEILING_DB))
    return Trained(to_tflite(whole, "float"), to_tflite(whole, "int8", samples))


def make(seed: int, plan: Plan) -> tuple[dict[str, Any], dict[str, File]]:
    """Return the card and the files of the model's folder."""
    signals = Signals.generate(seed, plan)
    known = signals.training.where(~signals.training.in_gap)
    # A fresh process each; the second training says whether a repetition gives the same bytes.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        trained, repeated, gapped = pool.starmap(
            train,
            [
                (part, signals.validation, plan.epochs, seed)
                for part in (signals.training, signals.training, known)
            ],
            chunksize=1,
        )
    return {}, {}
