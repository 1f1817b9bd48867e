"""What is found out about a keyword model, and the card that says it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edge.workshop.card import versions
from edge.workshop.ends import on_card
from edge.workshop.keyword_sounds import (
    HELD_OUT_OTHERS,
    KEYWORDS,
    LABELS,
    OTHERS,
    SILENCE,
    UNKNOWN,
    Plan,
)
from edge.workshop.listening import CHANNELS, CHUNK, EVERY, FRAMES
from edge.workshop.voices import HELD_OUT_FLITE, HELD_OUT_VARIANTS, RATE_HZ, VARIANTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.tensors import TensorSpec


@dataclass(frozen=True)
class Sample:
    """A second of features that travels with the model."""

    file: str
    features: NDArray[np.float32]  # [FRAMES, CHANNELS]
    truth: str
    answer: str
    score: float


@dataclass(frozen=True)
class Right:
    """How often a model is right about some scenes."""

    scenes: int
    accuracy: float
    """Of the best label, over all scenes."""
    keywords: float
    """The share of keywords whose best label is theirs."""
    sure: float
    """The same, with a score above the threshold."""
    taken: float
    """The share of other words that some keyword's score above the threshold is answered to."""
    silent: float
    """The same, of scenes without a word."""

    @staticmethod
    def of(scores: NDArray[np.float32], labels: NDArray[np.int64], threshold: float) -> Right:
        """Compare scores, [n, labels], with the true labels, [n]."""
        best, sure = scores.argmax(axis=1), scores.max(axis=1) > threshold
        right, keyword = best == labels, labels > UNKNOWN
        alarm = sure & (best > UNKNOWN)
        return Right(
            scenes=len(labels),
            accuracy=float(right.mean()),
            keywords=float(right[keyword].mean()),
            sure=float((right & sure)[keyword].mean()),
            taken=float(alarm[labels == UNKNOWN].mean()),
            silent=float(alarm[labels == SILENCE].mean()),
        )


@dataclass(frozen=True)
class Spoken:
    """How a model does on recordings of people."""

    keywords: list[tuple[str, str, int, int]]
    """Word, file, and how often of `places` it is the best label, and surely so."""
    places: int
    minutes: float
    windows: int
    taken: float
    """The share of windows of running speech with a keyword's score above the threshold."""


def describe(
    *,
    seed: int,
    plan: Plan,
    given: TensorSpec,
    answered: TensorSpec,
    threshold: float,
    float32: dict[str, Right],
    int8: dict[str, Right],
    people: Spoken | None,
    samples: list[Sample],
    digest: str,
    scenes: int,
    reproduced: bool,
    command: str,
) -> dict[str, Any]:
    """Return the model card."""
    rows = [("float", name, right) for name, right in float32.items()]
    rows += [("int8", name, right) for name, right in int8.items()]
    heard = len(VARIANTS) - HELD_OUT_VARIANTS
    return {
        "name": "keywords",
        "version": "1.0",
        "description": f"Eight words of command ({', '.join(KEYWORDS)}) in a second of sound. "
        "Trained on the voices of speech synthesisers, not of people.",
        "licence": "Apache-2.0 (model and generated data)",
        "pipeline": {"decode": {"type": "classification", "top_k": 1, "threshold": threshold}},
        "input": on_card(given)
        | {
            "meaning": f"{FRAMES} features of {CHANNELS} channels, the newest last; quantized: "
            "round(feature / scale) + zero_point, which is (256 * value + 333) / 666 - 128 of the "
            "front end's own 16-bit value, as TensorFlow Lite Micro's micro_speech has it"
        },
        "output": on_card(answered) | {"meaning": f"softmax: {', '.join(LABELS)}"},
        "features": {
            "sound": f"one channel of 16 bits, {RATE_HZ} a second",
            "front_end": "TensorFlow Lite Micro's (C, for microcontrollers too); here pymicro-"
            f"features {version('pymicro-features')}: {CHANNELS} channels of 30 ms of sound each "
            f"{1000 * CHUNK // RATE_HZ} ms, less the noise, with automatic gain, logarithmic",
            "window": f"every {EVERY}nd feature, the last {FRAMES}: "
            f"{FRAMES * EVERY * CHUNK / RATE_HZ:g} s",
            "state": "the front end follows noise and loudness: let it run on, do not reset it",
            "code": "edge/workshop/listening.py",
        },
        "accuracy": {
            "held_out": [
                {
                    "model": model,
                    "voices": name,
                    "scenes": right.scenes,
                    "accuracy": round(right.accuracy, 3),
                    "keywords": round(right.keywords, 3),
                    f"keywords_above_{threshold:g}": round(right.sure, 3),
                    "other_words_taken": round(right.taken, 3),
                    "silence_taken": round(right.silent, 3),
                }
                for model, name, right in rows
            ],
            "columns": "accuracy: of the best label; keywords: those whose best label is theirs; "
            f"taken: for a keyword with a score above {threshold:g}. The other words are ones that "
            "training lacks, two thirds of them chosen to resemble keywords",
        },
        "people": _people(people, threshold),
        "samples": [
            {
                "file": sample.file,
                "truth": sample.truth,
                "answer": sample.answer,
                "score": round(sample.score, 3),
            }
            for sample in samples
        ],
        "data": {
            "name": "generated: espeak-ng and flite in rooms of edge/workshop/listening.py",
            "espeak_ng": f"{heard} voice variants for training, {HELD_OUT_VARIANTS} held out; "
            "8 accents of English, 110 to 230 words a minute, pitch 10 to 95",
            "flite": f"kal16 and slt for training, {' and '.join(HELD_OUT_FLITE)} held out; these "
            "voices are built from recordings of four people",
            "unknown": f"{len(OTHERS)} other words and {plan.invented} that do not exist; "
            f"{len(HELD_OUT_OTHERS)} more held out",
            "rooms": "echo in half of the scenes, noise (white, pink, brown) 3 to 35 dB below the "
            "word, babble in a third, -30 to -3 dB of full scale; held-out quiet ones: noise 40 dB "
            "below, no echo",
            "sha256_of_training_features": digest,
        },
        "split": {
            "training": f"{scenes:,} scenes",
            "held_out": "by voice, and other words by word as well",
            "calibration": "training scenes",
            "golden": "the samples, and what each engine answers",
        },
        "recipe": {
            "command": command,
            "needs": "sudo apt install espeak-ng flite; for the people's recordings also "
            "alsa-utils asterisk-core-sounds-en-wav",
            "seed": seed,
            "epochs": plan.epochs,
            "same_bytes_when_repeated": reproduced,
            "elsewhere": "another TensorFlow, synthesiser or processor may give other bytes",
            "versions": versions(),
        },
        "limits": {
            "voices": "synthesisers speak more alike, and more clearly, than people do; children, "
            "dialects, colds and hurry were never heard",
            "people": "so few recordings of two speakers prove next to nothing: record people of "
            "your own before you rely on it",
            "words": "words that hold a keyword, or nearly one, are taken for it now and then",
        },
    }


def _people(spoken: Spoken | None, threshold: float) -> dict[str, Any]:
    if spoken is None:
        return {"measured": "no: the recordings are not installed"}
    return {
        "recordings": "of alsa-utils (left, right: one speaker) and asterisk-core-sounds-en-wav "
        "(no, and running speech by telephone: Allison Smith), as Debian has them; not trained on",
        "keywords": [
            {
                "word": word,
                "file": name,
                f"right_of_{spoken.places}_places": best,
                f"above_{threshold:g}": sure,
            }
            for word, name, best, sure in spoken.keywords
        ],
        "running_speech": f"{spoken.minutes:.0f} minutes, {spoken.windows:,} windows",
        "windows_taken_for_a_keyword": round(spoken.taken, 4),
    }
