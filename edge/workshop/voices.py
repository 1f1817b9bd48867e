"""Words spoken by speech synthesisers in many voices, none of them a person's.

espeak-ng (formants; 8 accents of English in 80 variants) and flite (built from recordings of four
people). Both are programs of the distribution: `apt install espeak-ng flite`.
"""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import resample_poly

from edge.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATE_HZ = 16_000
INSTALL = "sudo apt install espeak-ng flite"
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
           "en-us-nyc", "en-029")  # fmt: skip
# espeak-ng's voice variants (1.51), but for whispers, robots and monsters.
VARIANTS = """
    Alex Alicia Andrea Andy Annie Denis Diogo Henrique Hugo Jacky Lee Marco Mario Michael
    Mike Nguyen RicishayMax RicishayMax2 RicishayMax3 adam anika announcer antonio aunty
    belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa
    gustave iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6
    linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy
    rob robert sandro shelby steph steph2 steph3 travis victor zac
""".split()  # noqa: SIM905 - words, as they are read
FLITE_HZ = {"kal16": 105.0, "slt": 170.0, "rms": 100.0, "awb": 120.0}  # voices, usual pitch
HELD_OUT_VARIANTS = 24
HELD_OUT_FLITE = ("rms", "awb")
QUIET = 0.02  # of the peak: what is below at both ends of a word is cut off


@dataclass(frozen=True)
class Utterance:
    """One word as one voice says it."""

    word: str
    voice: str
    speed: float
    """Words a minute for espeak-ng, the stretch of durations for flite."""
    pitch: float
    """0..99 for espeak-ng, Hz for flite."""

    @property
    def command(self) -> list[str]:
        """What says it, as a WAV on its standard output."""
        if self.voice in FLITE_HZ:
            settings = [
                f"duration_stretch={self.speed:.3f}",
                f"int_f0_target_mean={self.pitch:.1f}",
            ]
            options = [part for setting in settings for part in ("--setf", setting)]
            return [
                "flite", "-voice", self.voice, *options, "-t", self.word, "-o", "/dev/stdout",
            ]  # fmt: skip
        settings = ["-v", self.voice, "-s", f"{self.speed:.0f}", "-p", f"{self.pitch:.0f}"]
        return ["espeak-ng", "--stdout", *settings, self.word]


def need_synthesisers() -> None:
    """Raise ConfigError where the two programs are not installed."""
    lacking = [name for name in ("espeak-ng", "flite") if shutil.which(name) is None]
    if lacking:
        raise ConfigError(f"{' and '.join(lacking)} must be installed to train this: `{INSTALL}`")


def split_variants(seed: int) -> tuple[list[str], list[str]]:
    """Return the variants that training hears, and those held out."""
    order = [VARIANTS[i] for i in np.random.default_rng(seed).permutation(len(VARIANTS))]
    return order[HELD_OUT_VARIANTS:], order[:HELD_OUT_VARIANTS]


def draw(
    rng: np.random.Generator, words: Sequence[str], variants: Sequence[str], times: int
) -> list[Utterance]:
    """Return each word so often, by espeak-ng, in a voice, speed and pitch drawn anew."""
    return [
        Utterance(
            word,
            f"{ACCENTS[int(rng.integers(len(ACCENTS)))]}+{variants[int(rng.integers(len(variants)))]}",
            speed=rng.uniform(110, 230),
            pitch=rng.uniform(10, 95),
        )
        for word in words
        for _ in range(times)
    ]


def draw_flite(
    rng: np.random.Generator, words: Sequence[str], voices: Sequence[str], times: int
) -> list[Utterance]:
    """Return each word so often by each of flite's voices, at a speed and pitch drawn anew."""
    return [
        Utterance(word, voice, rng.uniform(0.75, 1.4), FLITE_HZ[voice] * rng.uniform(0.8, 1.3))
        for word in words
        for voice in voices
        for _ in range(times)
    ]


def speak(utterances: Sequence[Utterance]) -> list[NDArray[np.float32]]:
    """Return each as sound: float32 at RATE_HZ, -1..1, without silence at its ends."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(_speak, utterances))


def phonemes(word: str) -> str:
    """Return how espeak-ng pronounces a word, so that homophones can be told."""
    return _run(["espeak-ng", "-q", "-x", "-v", "en-us", word]).decode().strip()


def _speak(utterance: Utterance) -> NDArray[np.float32]:
    wav = _run(utterance.command)
    # Written to a pipe, the header's sizes are not to be trusted; the data chunk is the last.
    begin = wav.index(b"data") + 8
    count = (len(wav) - begin) // 2
    sound: NDArray[np.float32] = np.frombuffer(wav, "<i2", count, begin).astype(np.float32)
    sound /= np.float32(32768)
    if int.from_bytes(wav[24:28], "little") != RATE_HZ:  # espeak-ng: 22,050
        sound = np.asarray(resample_poly(sound, 320, 441), np.float32)
    return trimmed(sound)


def trimmed(sound: NDArray[np.float32], step: int = 160) -> NDArray[np.float32]:
    """Return a sound without the silence before and after it, but for some 20 ms."""
    steps = len(sound) // step
    peaks = np.abs(sound[: steps * step].reshape(steps, step)).max(axis=1)
    loud = np.flatnonzero(peaks > QUIET * peaks.max())
    return sound[max(0, loud[0] - 2) * step : (loud[-1] + 3) * step]


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise EdgeError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
