"""What the keyword model is trained and measured on: words, voices and rooms."""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.workshop import voices
from edge.workshop.listening import CHANNELS, FRAMES, features, quiet_scene, scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge.workshop.voices import Utterance

KEYWORDS = ("yes", "no", "on", "off", "stop", "go", "left", "right")
LABELS = ("silence", "unknown", *KEYWORDS)
SILENCE, UNKNOWN = 0, 1
OTHERS = """
    up down zero one two three four five six seven eight nine ten house light lift let gone
    goat dog stock step top ride rice in an own John often cough yet guess less yesterday
    cat bird tree happy wow bed learn follow forward backward hello please music volume
    kitchen water window table garden morning evening open close start run play pause next
    song call mother father number phone office coffee later never always maybe after before
    under over red green blue white black money paper doctor school river mountain question
    answer computer system machine little big really about because
""".split()  # noqa: SIM905 - words, as they are read
HELD_OUT_OTHERS = """
    apple banana chair summer winter train street people seven letter network nobody nothing
    rest wrong rough most lot bone law nice road golf stuff shop loft height honest alone
    though
""".split()  # noqa: SIM905 - words, as they are read
# Of these are made words that do not exist, many of them near a keyword.
ONSETS = """
    y n r l g st sp b d f h k m p s t w v sh sl fl gr th
""".split()  # noqa: SIM905 - words, as they are read
NUCLEI = """
    a e i o u ee ai oa igh ow aw
""".split()  # noqa: SIM905 - words, as they are read
CODAS = """
    p b t d k g f s n m ft st ts l ff ss sh nd ck pt
""".split()  # noqa: SIM905 - words, as they are read

SILENT_SHARE = 12  # of so many scenes one more has no word
CHUNK = 100  # utterances that one process takes at a time


@dataclass(frozen=True)
class Plan:
    """How much is spoken, and how long is trained on it."""

    keyword: int  # utterances of each keyword by espeak-ng
    other: int  # of each other word
    invented: int  # words that do not exist, twice each
    flite: int  # utterances of each keyword by each of flite's voices; a tenth of other words
    held_out: int  # utterances of each keyword by voices that are held out; a fifth of other words
    scenes: int  # rooms in which each utterance is heard for training
    epochs: int


@dataclass(frozen=True)
class Part:
    """Scenes, as the model takes them."""

    features: NDArray[np.float32]  # [n, FRAMES, CHANNELS]
    labels: NDArray[np.int64]  # [n], into LABELS

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Part) -> Part:
        return Part(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.labels, other.labels]),
        )


@dataclass(frozen=True)
class Sounds:
    """All that is generated for a model."""

    training: Part
    quiet: Part  # held-out variants of espeak-ng saying keywords and words that training lacks
    noisy: Part  # the same, with echoes, noise and other voices
    flite_quiet: Part  # flite's held-out voices
    flite_noisy: Part

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the features that were trained on."""
        return hashlib.sha256(self.training.features.tobytes()).hexdigest()

    @staticmethod
    def generate(seed: int, plan: Plan) -> Sounds:
        """Return the same for the same seed, plan and synthesisers."""
        voices.need_synthesisers()
        rng = np.random.default_rng(seed)
        heard, unheard = voices.split_variants(seed)
        heard_flite = [name for name in voices.FLITE_HZ if name not in voices.HELD_OUT_FLITE]
        training = [
            *voices.draw(rng, KEYWORDS, heard, plan.keyword),
            *voices.draw(rng, OTHERS, heard, plan.other),
            *voices.draw(rng, invent(rng, plan.invented), heard, 2),
            *voices.draw_flite(rng, KEYWORDS, heard_flite, plan.flite),
            *voices.draw_flite(rng, OTHERS, heard_flite, plan.flite // 10),
        ]
        espeak = [
            *voices.draw(rng, KEYWORDS, unheard, plan.held_out),
            *voices.draw(rng, HELD_OUT_OTHERS, unheard, plan.held_out // 5),
        ]
        flite = [
            *voices.draw_flite(rng, KEYWORDS, voices.HELD_OUT_FLITE, plan.held_out // 5),
            *voices.draw_flite(rng, HELD_OUT_OTHERS, voices.HELD_OUT_FLITE, 1),
        ]
        training_sounds, espeak_sounds, flite_sounds = map(voices.speak, (training, espeak, flite))
        return Sounds(
            training=listen([seed, 0], training, training_sounds, plan.scenes),
            quiet=listen([seed, 1], espeak, espeak_sounds, 1, quiet=True),
            noisy=listen([seed, 2], espeak, espeak_sounds, 1),
            flite_quiet=listen([seed, 3], flite, flite_sounds, 1, quiet=True),
            flite_noisy=listen([seed, 4], flite, flite_sounds, 1),
        )


def invent(rng: np.random.Generator, count: int) -> list[str]:
    """Return so many words that are no keyword, whichever way they are spelled."""
    keywords = {voices.phonemes(word) for word in KEYWORDS}
    words: set[str] = set()
    drawn: list[str] = []
    while len(drawn) < count:
        parts = [sounds[rng.integers(len(sounds))] for sounds in (ONSETS, NUCLEI, CODAS)]
        word = "".join(parts)
        if word not in words and voices.phonemes(word) not in keywords:
            words.add(word)
            drawn.append(word)
    return drawn


def listen(
    seed: list[int],
    said: Sequence[Utterance],
    sounds: Sequence[NDArray[np.float32]],
    scenes: int,
    *,
    quiet: bool = False,
) -> Part:
    """Return each utterance in so many rooms, and some rooms in which nobody says a word."""
    others = [
        sound
        for utterance, sound in zip(said, sounds, strict=True)
        if utterance.word not in KEYWORDS
    ]
    rng = np.random.default_rng(seed)
    jobs = [
        _Job(
            seed=[*seed, start],
            labels=[label(utterance.word) for utterance in said[start : start + CHUNK]],
            sounds=list(sounds[start : start + CHUNK]),
            others=[others[i] for i in rng.permutation(len(others))[:50]],
            scenes=scenes,
            quiet=quiet,
        )
        for start in range(0, len(said), CHUNK)
    ]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.map(_listen, jobs, chunksize=1)
    return Part(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


@dataclass(frozen=True)
class _Job:
    """Some utterances for one process; the same job gives the same scenes."""

    seed: list[int]
    labels: list[int]
    sounds: list[NDArray[np.float32]]
    others: list[NDArray[np.float32]]
    scenes: int
    quiet: bool


def _listen(job: _Job) -> Part:
    rng = np.random.default_rng(job.seed)
    found, true = [], []
    for truth, sound in zip(job.labels, job.sounds, strict=True):
        for _ in range(job.scenes):
            heard = quiet_scene(rng, sound) if job.quiet else scene(rng, sound, job.others)
            found.append(features(heard))
            true.append(truth)
    for _ in range(len(job.labels) * job.scenes // SILENT_SHARE):
        found.append(features(scene(rng, None, job.others)))
        true.append(SILENCE)
    return Part(np.array(found, np.float32).reshape(-1, FRAMES, CHANNELS), np.array(true, np.int64))


def label(word: str) -> int:
    """Return the index in LABELS of what a word is to the model."""
    return LABELS.index(word) if word in KEYWORDS else UNKNOWN
