"""What a microphone hears of a word, and the features that the keyword model takes.

The features are those of TensorFlow Lite Micro's audio front end (package `pymicro-features`),
which runs on microcontrollers and keeps pace with a microphone on any device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve, resample_poly

from edge.workshop.framework import bring
from edge.workshop.voices import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

CHANNELS = 40  # mel-like, 125 to 7,500 Hz
CHUNK = RATE_HZ // 100  # a feature each 10 ms, of 30 ms of sound
EVERY = 2  # the model takes every second feature
FRAMES = 49  # 0.98 s
SCENE = 2 * RATE_HZ  # the word lies in the last second; the front end settles in the first
ECHOES, BABBLES, SWELLS = 0.5, 0.3, 0.3  # shares of scenes with them
LAST = FRAMES * EVERY * CHUNK  # samples that the model hears


def features(sound: NDArray[Any]) -> NDArray[np.float32]:
    """Return the last FRAMES features of a sound, -1..1 at RATE_HZ: float32 [FRAMES, CHANNELS]."""
    return np.stack(list(stream(sound))[::-1][::EVERY][:FRAMES][::-1])


def stream(sound: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """Yield all features of a sound as a device gets them, one each 10 ms: float32 [CHANNELS]."""
    frontend = bring("pymicro_features").MicroFrontend()
    data = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    for start in range(0, len(data) - 2 * CHUNK + 1, 2 * CHUNK):
        found = frontend.process_samples(data[start : start + 2 * CHUNK]).features
        if found:
            yield np.array(found, np.float32)


def scene(
    rng: np.random.Generator,
    word: NDArray[Any] | None,
    others: Sequence[NDArray[np.float32]],
) -> NDArray[np.float64]:
    """Return 2 s of a room in which a word, or none, is said somewhere in the last second.

    The word is heard faster or slower (as another throat), through an equaliser (microphone), half
    of the time with an echo, over noise and now and then the babble of others, near or far.
    """
    heard = np.zeros(SCENE)
    loudness = 0.15  # of the noise, where nobody speaks
    if word is not None:
        spoken = resample_poly(word, 100, int(100 * rng.uniform(0.88, 1.14)))
        spoken = equalised(rng, spoken)
        if rng.random() < ECHOES:
            spoken = fftconvolve(spoken, echo(rng))
        loudness = put(rng, heard, spoken)
    heard += noise(rng) * loudness * 10 ** (-rng.uniform(3, 35) / 20)
    if others and rng.random() < BABBLES:
        babble = np.zeros(SCENE)
        for _ in range(rng.integers(1, 5)):
            other = others[int(rng.integers(len(others)))][:SCENE]
            start = rng.integers(0, SCENE - len(other) + 1)
            babble[start : start + len(other)] += other
        babble *= loudness / (np.sqrt((babble**2).mean()) + 1e-9)
        heard += babble * 10 ** (-rng.uniform(8, 30) / 20)
    return heard * 10 ** (rng.uniform(-30, -3) / 20)


def quiet_scene(rng: np.random.Generator, word: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 2 s of a quiet room in which a word is said as it is, somewhere in the last second."""
    heard = np.zeros(SCENE)
    loudness = put(rng, heard, word)
    return (heard + noise(rng) * loudness / 100) * 10 ** (rng.uniform(-30, -3) / 20)


def put(rng: np.random.Generator, heard: NDArray[np.float64], word: NDArray[Any]) -> float:
    """Add a word, at full level, somewhere in what the model hears; return its rms."""
    room = LAST - CHUNK
    word = word[:room] / np.abs(word).max()
    start = SCENE - room + rng.integers(0, max(1, room - len(word) + 1))
    heard[start : start + len(word)] += word
    return float(np.sqrt((word**2).mean()))


def equalised(rng: np.random.Generator, sound: NDArray[Any]) -> NDArray[np.float64]:
    """Return a sound with its spectrum bent by some decibels, up and down."""
    size = next_fast_len(len(sound), real=True)
    hz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    gain_db = np.interp(hz, [0, 100, 300, 1000, 3000, 6000, 8000], rng.normal(0, 4, 7))
    bent: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(sound, size) * 10 ** (gain_db / 20), size)
    return bent[: len(sound)]


def echo(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a room's impulse response: noise that fades by 60 dB in 0.1 to 0.5 s."""
    size = int(rng.uniform(0.1, 0.5) * RATE_HZ)
    response = rng.normal(size=size) * 10 ** (-3 * np.arange(size) / size)
    response *= rng.uniform(0.2, 1) / np.sqrt((response**2).sum())
    response[0] = 1
    return np.asarray(response)


def noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return white, pink or brown noise, now and then swelling, of rms 1: [SCENE]."""
    size = SCENE + RATE_HZ  # its end is cut off: the transform is periodic
    hz = np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 20)
    slope = 0.5 * rng.integers(3)
    sound = np.fft.irfft(np.fft.rfft(rng.normal(size=size)) / hz**slope, size)[:SCENE]
    if rng.random() < SWELLS:
        swelling = np.sin(2 * np.pi * rng.uniform(0.5, 8) * np.arange(SCENE) / RATE_HZ)
        sound = sound * (1 + 0.8 * swelling)
    return np.asarray(sound / np.sqrt((sound**2).mean()))
