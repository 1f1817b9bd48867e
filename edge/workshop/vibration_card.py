"""What is found out about a vibration model, and the card that says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from edge.workshop.card import versions
from edge.workshop.ends import on_card
from edge.workshop.log_spectrum import BANDS, FINE, HOP, REFERENCE_G2, SEGMENT, WIDE
from edge.workshop.rotating_machine import (
    ADDED_G,
    BPFI,
    BPFO,
    NOISE_G,
    RATE_HZ,
    REFERENCE_HZ,
    SEVERITIES,
    SPEEDS_HZ,
    STEP_G,
    WINDOW,
    Fault,
)
from edge.workshop.vibration_signals import FAULTY, GAP_HZ, LOADS, OUTSIDE_HZ, Part, Plan, Signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.tensors import TensorSpec


@dataclass(frozen=True)
class Sample:
    """A window that travels with the model."""

    file: str
    bands_db: NDArray[np.float32]  # [BANDS]
    speed_hz: float
    score: float  # dB^2


@dataclass(frozen=True)
class Findings:
    """How well some way of scoring windows tells faulty machines from healthy ones."""

    threshold: float
    """The score that this share of healthy validation windows exceeds."""
    median: float
    """Of the healthy held-out windows' scores."""
    false_alarms: float
    """The share of healthy held-out windows above the threshold."""
    outside: float
    """The same, at speeds faster than any in training."""
    detected: dict[tuple[Fault, int], float]
    """The share of windows above the threshold, by fault and severity."""
    auc: dict[tuple[Fault, int], float]
    """Area under the ROC curve against the healthy held-out windows."""

    @staticmethod
    def of(
        signals: Signals, scores: Callable[[Part], NDArray[np.float64]], false_alarms: float
    ) -> Findings:
        """Score all windows and compare."""
        threshold = float(np.quantile(scores(signals.validation), 1 - false_alarms))
        healthy = scores(signals.held_out)
        detected, auc = {}, {}
        for kind, part in signals.faulty.items():
            faulty = scores(part)
            detected[kind] = float((faulty > threshold).mean())
            truth = np.repeat([0, 1], [len(healthy), len(faulty)])
            auc[kind] = float(roc_auc_score(truth, np.concatenate([healthy, faulty])))
        return Findings(
            threshold=threshold,
            median=float(np.median(healthy)),
            false_alarms=float((healthy > threshold).mean()),
            outside=float((scores(signals.outside) > threshold).mean()),
            detected=detected,
            auc=auc,
        )


def describe(
    *,
    seed: int,
    plan: Plan,
    given: TensorSpec,
    answered: TensorSpec,
    float32: Findings,
    int8: Findings,
    linear: Findings,
    gap: float,
    samples: list[Sample],
    reproduced: bool,
    command: str,
) -> dict[str, Any]:
    """Return the model card."""
    slowest, fastest = SPEEDS_HZ
    bin_hz = RATE_HZ / SEGMENT
    return {
        "name": "vibration",
        "version": "1.0",
        "description": "An autoencoder for the vibration of a rotating machine: it rebuilds the "
        "spectrum of a healthy one, and what it cannot rebuild is an anomaly. Trained on generated "
        "signals.",
        "licence": "Apache-2.0 (model and generated data)",
        "pipeline": {"decode": {"type": "raw"}},
        "threshold": round(int8.threshold, 3),
        "input": on_card(given)
        | {
            "meaning": f"the power of a window in {BANDS} bands, in dB re {REFERENCE_G2:g} g^2; "
            "quantized: round(dB / scale) + zero_point"
        },
        "output": on_card(answered) | {"meaning": "the same bands, as a healthy machine has them"},
        "score": {
            "formula": "mean over the bands of (input_scale * (input - input_zero_point) - "
            "output_scale * (output - output_zero_point))^2",
            "unit": "dB^2",
            "threshold": f"{int8.threshold:.3f}: above it a window is an anomaly. "
            f"1 % of the {len_of(plan.validation):,} healthy validation windows are",
            "threshold_of_the_float_model": round(float32.threshold, 3),
            "healthy_median": round(int8.median, 3),
        },
        "features": {
            "signal": f"one axis of acceleration at {RATE_HZ} samples a second; windows of {WINDOW}"
            f" samples ({WINDOW / RATE_HZ:g} s)",
            "segments": f"of {SEGMENT} samples, a new one each {HOP}: "
            f"{(WINDOW - SEGMENT) // HOP + 1} in a window",
            "spectrum": "of each segment less its mean, under a Hann window w[n] = 0.5 - 0.5 "
            f"cos(2 pi n / {SEGMENT}): |FFT|^2 / ({SEGMENT} sum(w^2)), doubled but for bin "
            f"{SEGMENT // 2}; averaged over the segments (Welch's method). In g^2",
            "bands": f"bins 1 to {FINE} one each (every {bin_hz:g} Hz up to {FINE * bin_hz:g}); "
            f"bins {FINE + 1} to {SEGMENT // 2} summed by {WIDE}",
            "decibels": f"10 log10(band / {REFERENCE_G2:g} g^2)",
            "code": "edge/workshop/log_spectrum.py",
            "why": "in the samples themselves every window has another phase, which no small "
            "network can rebuild; averaged power has none, shows harmonics and resonances alike, "
            "and is one real FFT at a time on a microcontroller",
            "to_check_yours": "windows.npz holds two samples from the sensor on: steps (int16), "
            "step_g, and bands_db, which should come out within 0.1 dB",
        },
        "accuracy": {
            "false_alarms": {
                "healthy_windows_of_held_out_machines": len_of(plan.held_out),
                "float": share(float32.false_alarms),
                "int8": share(int8.false_alarms),
                f"machines_faster_than_any_in_training_{OUTSIDE_HZ[0]:g}_to_"
                f"{OUTSIDE_HZ[1]:g}_hz": share(int8.outside),
                f"trained_without_{GAP_HZ[0]:g}_to_{GAP_HZ[1]:g}_hz_and_tried_there": share(gap),
            },
            "windows_of_each_fault_and_severity": plan.held_out[0] * plan.faulty,
            "faults": [
                {
                    "fault": fault,
                    "severity": SEVERITIES[severity],
                    "added_g": ADDED_G[fault][severity],
                    "auc_float": round(float32.auc[fault, severity], 3),
                    "auc_int8": round(int8.auc[fault, severity], 3),
                    "detected_float": share(float32.detected[fault, severity]),
                    "detected_int8": share(int8.detected[fault, severity]),
                    "detected_by_a_linear_map": share(linear.detected[fault, severity]),
                }
                for fault, severity in FAULTY
            ],
            "columns": "detected: windows above the threshold that 1 % of healthy validation "
            "windows exceed; added_g: peak acceleration that the fault adds at "
            f"{REFERENCE_HZ:g} Hz and full load, before the structure; linear map: principal "
            "components through as narrow a middle, with a threshold of its own "
            f"(false alarms {share(linear.false_alarms)})",
        },
        "samples": [
            {
                "file": sample.file,
                "speed_hz": round(sample.speed_hz, 1),
                "score": round(sample.score, 3),
                "anomaly": sample.score > int8.threshold,
            }
            for sample in samples
        ],
        "data": {
            "name": "generated, none of it measured: edge/workshop/rotating_machine.py",
            "machine": "a speed-controlled fan: residual imbalance (force by speed squared), "
            "harmonics 2 to 6 of the coupling, blade pass, broadband flow noise by load and speed, "
            "two resonances; each machine has amplitudes, resonances, gain and gravity of its own",
            "speeds": f"{slowest:g} to {fastest:g} Hz, loads {LOADS[0]:g} to {LOADS[1]:g}, drawn "
            "anew for each window; 0.2 % of wander within one",
            "sensor": f"ADXL345 by its data sheet: {RATE_HZ} Hz, +-8 g in 12 bits whose lowest is "
            f"always 0 at this rate ({STEP_G * 1000:.1f} mg), noise {NOISE_G * 1000:.0f} mg rms",
            "faults": f"imbalance: 1x; misalignment: 2x and half as much 3x; looseness: harmonics "
            f"to 10x and half orders; bearing 6205, impacts that ring a resonance at {BPFO:.3f} "
            f"(outer race) or {BPFI:.3f} (inner race) times the shaft's speed",
            "sources": "R. B. Randall, J. Antoni, MSSP 25 (2011) 485-520 (bearing frequencies, "
            "slip); P. D. McFadden, J. D. Smith, J. Sound and Vibration 96 (1984) 69-82 (impacts, "
            "load zone); ISO 20816-3 (what an imbalance of each severity is measured by)",
        },
        "split": {
            "training": f"{plan.training[0]} machines, {len_of(plan.training):,} windows, healthy",
            "validation": f"{plan.validation[0]} others, {len_of(plan.validation):,} windows, "
            "healthy: for the threshold only",
            "held_out": f"{plan.held_out[0]} others, {len_of(plan.held_out):,} healthy windows and "
            f"{plan.faulty} of each with each fault and severity",
            "calibration": "training windows",
            "golden": "the samples, and what each engine answers",
        },
        "recipe": {
            "command": command,
            "seed": seed,
            "epochs": plan.epochs,
            "same_bytes_when_repeated": reproduced,
            "elsewhere": "another TensorFlow or kind of processor may give other bytes",
            "versions": versions(),
        },
        "limits": {
            "generated": "no machine was ever measured for it. It shows that the way from a sensor "
            "to an alarm works; for a machine of yours, record it healthy and train anew",
            "speeds": "a healthy machine at a speed that training lacked alarms (see accuracy): "
            "record yours at every speed that it runs at",
            "imbalance": "machines are balanced unequally well, so a mild imbalance of one is what "
            "another has when healthy: the trend of one machine's 1x band tells more",
            "disturbances": "nothing else shakes these machines: no neighbour, no knock, no change "
            "of what they work on; rates near 1 are those of so quiet a world",
            "kind": "another kind of machine, mounting or sensor is an anomaly as a whole",
        },
    }


def len_of(part: tuple[int, int]) -> int:
    """Return how many windows so many machines and windows of each are."""
    return part[0] * part[1]


def share(value: float) -> float:
    """Return a share of windows as the card has it."""
    return round(value, 4)
