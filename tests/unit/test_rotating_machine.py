from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import welch

from edge.workshop.log_spectrum import (
    BANDS,
    CEILING_DB,
    FINE,
    FLOOR_DB,
    REFERENCE_G2,
    WIDE,
    log_spectrum,
)
from edge.workshop.rotating_machine import (
    ADDED_G,
    BPFI,
    BPFO,
    NOISE_G,
    RATE_HZ,
    STEP_G,
    WINDOW,
    Fault,
    Machine,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEED_HZ = 25.0


def spectrum_of(
    fault: Fault | None, *, speed_hz: float = SPEED_HZ, severity: int = 2, windows: int = 8
) -> NDArray[np.float64]:
    """Return a machine's amplitude in g by bin of RATE_HZ / WINDOW, the mean of some windows."""
    machine = Machine.build(0, 0)
    rng = np.random.default_rng(1)
    added_g = ADDED_G[fault][severity] if fault else 0.0
    recorded = [
        machine.record(rng, speed_hz=speed_hz, load=1, fault=fault, added_g=added_g)
        for _ in range(windows)
    ]
    return np.asarray(np.mean([amplitudes(window) for window in recorded], axis=0))


def amplitudes(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    hann = np.hanning(WINDOW)
    return np.asarray(np.abs(np.fft.rfft((signal - signal.mean()) * hann)) * 2 / hann.sum())


def peak_near(spectrum: NDArray[np.float64], hz: float) -> float:
    centre = round(hz * WINDOW / RATE_HZ)
    return float(np.max(spectrum[centre - 2 : centre + 3]))


def test_the_sensor_gives_whole_steps_and_gravity_and_noise() -> None:
    machine = Machine.build(0, 3)
    window = machine.record(np.random.default_rng(0), speed_hz=20, load=0.5)
    assert window.shape == (WINDOW,)
    steps = window / STEP_G
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    assert window.mean() == pytest.approx(machine.offset_g, abs=0.01)
    assert window.std() > NOISE_G


def test_the_same_machine_vibrates_the_same_again_and_another_does_not() -> None:
    def recorded(number: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(5)
        return Machine.build(0, number).record(rng, speed_hz=30, load=0.7)

    assert np.array_equal(recorded(1), recorded(1))
    assert not np.array_equal(recorded(1), recorded(2))


def test_the_force_of_an_imbalance_grows_with_the_square_of_the_speed() -> None:
    slow = peak_near(spectrum_of("imbalance", speed_hz=20), 20)
    fast = peak_near(spectrum_of("imbalance", speed_hz=40), 40)
    assert fast / slow == pytest.approx(4, rel=0.25)  # the structure adds a little


@pytest.mark.parametrize(
    ("fault", "order"), [("imbalance", 1), ("misalignment", 2), ("looseness", 0.5)]
)
def test_a_fault_shows_at_its_multiple_of_the_shafts_speed(fault: Fault, order: float) -> None:
    ratio = spectrum_of(fault) / spectrum_of(None)
    assert peak_near(ratio, order * SPEED_HZ) > 3


@pytest.mark.parametrize(("fault", "passes"), [("outer race", BPFO), ("inner race", BPFI)])
def test_a_bearings_envelope_beats_as_often_as_balls_pass_the_defect(
    fault: Fault, passes: float
) -> None:
    machine = Machine.build(0, 0)
    rng = np.random.default_rng(1)
    ringing_hz = machine.modes[-1].hz
    hz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    beats = np.zeros(WINDOW // 2 + 1)
    for _ in range(20):
        window = machine.record(rng, speed_hz=SPEED_HZ, load=1, fault=fault, added_g=1.0)
        spectrum = np.fft.rfft(window)
        spectrum[np.abs(hz - ringing_hz) > 300] = 0
        analytic = np.fft.ifft(np.concatenate([spectrum * 2, np.zeros(WINDOW - len(spectrum))]))
        beats += amplitudes(np.abs(analytic).astype(np.float32))
    rate = peak_near(beats, passes * SPEED_HZ)
    other = BPFI if fault == "outer race" else BPFO
    assert rate > 3 * peak_near(beats, other * SPEED_HZ)
    turning = peak_near(beats, (passes - 1) * SPEED_HZ) / rate
    assert (turning > 0.3) == (fault == "inner race")  # it turns through the load zone


def test_the_bearings_rates_are_those_tabulated_for_a_6205() -> None:
    # Case Western Reserve University Bearing Data Center, drive end bearing 6205-2RS JEM SKF.
    assert pytest.approx(3.5848, abs=2e-3) == BPFO
    assert pytest.approx(5.4152, abs=2e-3) == BPFI


def test_the_features_are_welchs_spectrum_in_bands() -> None:
    rng = np.random.default_rng(2)
    windows = rng.normal(0.3, 0.05, (3, WINDOW))
    _, density = welch(windows, RATE_HZ, "hann", 1024, 512, detrend="constant")
    power = density[:, 1:] * RATE_HZ / 1024
    wide = power[:, FINE:].reshape(3, -1, WIDE).sum(axis=2)
    bands = np.concatenate([power[:, :FINE], wide], axis=1)
    expected = 10 * np.log10(bands / REFERENCE_G2)
    assert log_spectrum(windows) == pytest.approx(expected, abs=1e-4)
    assert log_spectrum(windows).shape == (3, BANDS)


def test_all_bands_together_are_the_mean_square_of_the_signal() -> None:
    windows = np.random.default_rng(3).normal(0, 0.1, (20, WINDOW))
    bands = 10 ** (log_spectrum(windows).astype(np.float64) / 10) * REFERENCE_G2
    assert bands.sum(axis=1).mean() == pytest.approx(0.01, rel=0.02)


def test_silence_and_more_than_the_sensor_can_say_stay_within_the_features_ends() -> None:
    seconds = np.arange(WINDOW) / RATE_HZ
    loud = 1e5 * np.sin(2 * np.pi * 100 * seconds)
    found = log_spectrum(np.stack([np.zeros(WINDOW), loud]))
    assert (found[0] == FLOOR_DB).all()
    assert found[1].max() == CEILING_DB
