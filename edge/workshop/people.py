"""The few recordings of people that Debian has of the model's keywords, to measure it on.

`apt install alsa-utils asterisk-core-sounds-en-wav`; nothing of them is trained on or shipped.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import resample_poly

from edge.workshop.listening import EVERY, FRAMES, features, quiet_scene, stream
from edge.workshop.voices import RATE_HZ, trimmed

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALSA = Path("/usr/share/sounds/alsa")  # "front left" and so on, a pause between the words
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")  # Allison Smith, by telephone
NO = "vm-no.wav"
NOT_SPEECH = ("beep", "tone", "silence", "monkeys")
PLACES = 8  # in the last second, in which each recording is tried
FIRST_WORD, PAUSE = 40, 10  # in 10 ms
STEP = 20  # features, 0.2 s, from one window of running speech to the next


@dataclass(frozen=True)
class People:
    """What people said, as the model takes it."""

    keywords: list[tuple[str, str, NDArray[np.float32]]]
    """Word, file, and [PLACES, FRAMES, CHANNELS]."""
    speech: NDArray[np.float32]
    """Windows of running speech, [n, FRAMES, CHANNELS]: hardly a keyword among them."""
    minutes: float


def listen_to_people(seed: int) -> People | None:
    """Return the recordings, or None where the packages are not installed."""
    if not (ALSA.is_dir() and PROMPTS.is_dir()):
        return None
    rng = np.random.default_rng(seed)
    said = [
        (word, path.name, last_word(read(path)))
        for word in ("left", "right")
        for path in sorted(ALSA.glob(f"*_{word.capitalize()}.wav"))
    ]
    said.append(("no", NO, trimmed(read(PROMPTS / NO))))
    keywords = [
        (word, name, np.stack([features(quiet_scene(rng, sound)) for _ in range(PLACES)]))
        for word, name, sound in said
    ]
    windows = []
    samples = 0
    for path in sorted(PROMPTS.rglob("*.wav")):
        if path.name != NO and not any(word in str(path) for word in NOT_SPEECH):
            sound = read(path)
            samples += len(sound)
            lead = rng.normal(0, 1e-3, RATE_HZ)
            sound = np.concatenate([lead, sound / np.abs(sound).max() / 2, lead[: RATE_HZ // 4]])
            found = np.stack(list(stream(sound + rng.normal(0, 1e-3, len(sound)))))
            ends = range(EVERY * FRAMES, len(found), STEP)
            windows += [found[end - EVERY * FRAMES : end][1::EVERY] for end in ends]
    return People(keywords, np.stack(windows), samples / RATE_HZ / 60)


def read(path: Path) -> NDArray[np.float32]:
    """Return a WAV of one channel as float32 at RATE_HZ, -1..1."""
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        rate = file.getframerate()
    return np.asarray(resample_poly(sound, RATE_HZ, rate), np.float32)


def last_word(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what follows the first pause of PAUSE or more after FIRST_WORD."""
    step = RATE_HZ // 100
    steps = len(sound) // step
    level = np.sqrt((sound[: steps * step].reshape(steps, step) ** 2).mean(axis=1))
    loud = level > level.max() / 100  # -40 dB
    quiet = 0
    for at in range(FIRST_WORD, steps):
        if loud[at] and quiet >= PAUSE:
            return trimmed(sound[(at - 3) * step :])
        quiet = 0 if loud[at] else quiet + 1
    return trimmed(sound)
