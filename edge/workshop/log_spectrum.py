"""The features of the vibration model: the power of a window in 128 bands, in decibels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENT = 1024  # samples of one Fourier transform: bins of 3.125 Hz at 3200 Hz
HOP = SEGMENT // 2
FINE = 64  # bins 1 to 64 stand alone: the shaft's harmonics up to 200 Hz
WIDE = 7  # bins above that share a band by seven: resonances up to 1,600 Hz
BANDS = FINE + (SEGMENT // 2 - FINE) // WIDE  # 128
REFERENCE_G2 = 1e-5  # 0 dB: the mean square of 3.2 mg, where most bands of a healthy machine are
FLOOR_DB, CEILING_DB = -30.0, 72.0  # to more than +-8 g can hold; int8 in steps of 0.4 dB

_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SEGMENT) / SEGMENT)


def log_spectrum(windows: NDArray[Any]) -> NDArray[np.float32]:
    """Return the bands of windows in g, [n, samples], in decibels: float32 [n, BANDS].

    Welch's method (IEEE Trans. Audio Electroacoustics 15 (1967) 70-73): segments of 1,024 samples
    that overlap by half, each less its mean and under a Hann window, their power averaged. A band
    is the mean square of the acceleration in it; all bands together are that of the window.
    """
    segments = np.lib.stride_tricks.sliding_window_view(windows, SEGMENT, axis=1)[:, ::HOP]
    level = segments - segments.mean(axis=2, keepdims=True)  # [n, segments, SEGMENT]
    bins = np.abs(np.fft.rfft(level * _HANN, axis=2)) ** 2 / (SEGMENT * (_HANN**2).sum())
    bins[:, :, 1:-1] *= 2  # the negative frequencies
    power = bins.mean(axis=1)[:, 1:]  # [n, 512], without 0 Hz
    wide = power[:, FINE:].reshape(len(power), -1, WIDE).sum(axis=2)
    bands = np.concatenate([power[:, :FINE], wide], axis=1)
    decibels = 10 * np.log10(np.maximum(bands / REFERENCE_G2, 10 ** (FLOOR_DB / 10)))
    return np.asarray(np.minimum(decibels, CEILING_DB), np.float32)
