"""Vibration of a rotating machine as a small accelerometer records it: generated, not measured.

A speed-controlled fan on ball bearings, seen by one axis of a MEMS accelerometer on the bearing
housing. Every number here is a choice that a formula, a standard or a data sheet makes likely;
none was fitted to a real machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fault = Literal["imbalance", "misalignment", "looseness", "outer race", "inner race"]
FAULTS: tuple[Fault, ...] = ("imbalance", "misalignment", "looseness", "outer race", "inner race")
SEVERITIES = ("mild", "moderate", "severe")

# The sensor is an ADXL345, as its data sheet (rev. E) describes it at its highest rate: +-8 g in
# 12 bits of 3.9 mg, of which the lowest is always 0 at 3200 Hz ("Data formatting of upper data
# rates"); 430 ug/sqrt(Hz) on its z axis ("Noise performance").
RATE_HZ = 3200
RANGE_G = 8.0
STEP_G = 2 * 0.0039
NOISE_G = 430e-6 * math.sqrt(RATE_HZ / 2)  # rms over the whole band
WINDOW = 4096  # samples, 1.28 s

SPEEDS_HZ = (18.0, 48.0)  # 1,080 to 2,880 revolutions a minute
REFERENCE_HZ = 25.0  # amplitudes below are those at this shaft speed
BLADES = 7

# Deep groove ball bearing 6205 (n balls of diameter d on a pitch circle of diameter D, contact
# angle 0). Passes of balls over a point a revolution of the shaft: n/2 (1 -+ d/D); R. B. Randall,
# J. Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25 (2011) 485-520, eq. 1, 2.
BALLS, BALL_MM, PITCH_MM = 9, 7.94, 39.04
BPFO = BALLS / 2 * (1 - BALL_MM / PITCH_MM)  # 3.585 a revolution, outer race
BPFI = BALLS / 2 * (1 + BALL_MM / PITCH_MM)  # 5.415 a revolution, inner race
SLIP = 0.01  # standard deviation of the time between impacts, of that time (ibid., section 2)

# Peak acceleration that a fault adds at REFERENCE_HZ and full load, by severity, in g. The 1x of
# an imbalance is 2.2, 4.4 and 8.8 mm/s rms there: around the borders of the zones A/B, B/C and C/D
# of ISO 20816-3 for medium machines.
ADDED_G: dict[Fault, tuple[float, float, float]] = {
    "imbalance": (0.05, 0.1, 0.2),
    "misalignment": (0.04, 0.08, 0.16),
    "looseness": (0.02, 0.04, 0.08),
    "outer race": (0.1, 0.3, 1.0),
    "inner race": (0.1, 0.3, 1.0),
}


@dataclass(frozen=True)
class Resonance:
    """One mode of the structure."""

    hz: float
    damping: float  # of the critical one
    gain: float  # at the resonance, beside 1 below it

    def response(self, hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much more a sine of each frequency moves the sensor."""
        ratio = hz / self.hz
        width = 2 * self.damping
        return self.gain * width / np.hypot(1 - ratio**2, width * ratio)


@dataclass(frozen=True)
class Machine:
    """What one machine of the kind has of its own; it stays as it is from window to window."""

    residual_g: float  # 1x of the imbalance that balancing left
    harmonics_g: tuple[float, ...]  # 2x, 3x, ... of a healthy coupling
    blade_pass_g: float
    flow_g: float  # rms of the broadband noise of the air
    modes: tuple[Resonance, ...]  # the last rings when a ball passes a defect
    gain: float  # of sensor and mounting
    offset_g: float  # of gravity on the sensor's axis, and its own

    @staticmethod
    def build(seed: int, number: int) -> Machine:
        """Return a machine; the same two numbers give the same one."""
        rng = np.random.default_rng([seed, number])

        def spread(median: float, decibels: float) -> float:
            return float(median * 10 ** (rng.normal(0, decibels) / 20))

        modes = (
            Resonance(rng.normal(320, 8), 0.05, spread(2.5, 1.5)),
            Resonance(rng.normal(1150, 25), 0.04, spread(4.0, 1.5)),
        )
        return Machine(
            residual_g=spread(0.02, 3),
            harmonics_g=tuple(spread(0.012 / order, 2) for order in range(2, 7)),
            blade_pass_g=spread(0.02, 2),
            flow_g=spread(0.02, 1.5),
            modes=modes,
            gain=spread(1, 0.5),
            offset_g=float(rng.uniform(-1, 1)),
        )

    def record(
        self,
        rng: np.random.Generator,
        *,
        speed_hz: float,
        load: float,
        fault: Fault | None = None,
        added_g: float = 0.0,
    ) -> NDArray[np.float32]:
        """Return one window, float32 [WINDOW], in g, in whole steps of the sensor."""
        # The controlled speed wanders by 0.2 % within a window.
        wander = np.cumsum(rng.normal(0, 1, WINDOW))
        wander *= 0.002 / max(1e-9, float(np.abs(wander).max()))
        shaft = 2 * math.pi * np.cumsum(speed_hz * (1 + wander)) / RATE_HZ  # angle, radians
        faster = speed_hz / REFERENCE_HZ

        orders: dict[float, complex] = {}  # peak g and phase by multiple of the shaft's speed

        def turn(order: float, peak_g: float) -> None:
            angle = rng.uniform(0, 2 * math.pi)
            peak_g *= rng.uniform(0.95, 1.05)
            orders[order] = orders.get(order, 0) + peak_g * complex(
                math.cos(angle), math.sin(angle)
            )

        turn(1, self.residual_g * faster**2)  # a centrifugal force
        for order, peak_g in enumerate(self.harmonics_g, start=2):
            turn(order, peak_g * faster * (0.5 + 0.5 * load))
        turn(BLADES, self.blade_pass_g * faster**2 * load)
        if fault == "imbalance":
            turn(1, added_g * faster**2)
        elif fault == "misalignment":  # 2x foremost, as a bent coupling gives way twice a turn
            turn(2, added_g * faster * (0.5 + 0.5 * load))
            turn(3, added_g / 2 * faster * (0.5 + 0.5 * load))
        elif fault == "looseness":  # many harmonics and half orders, no two windows alike
            for half in range(1, 21):
                whole = half % 2 == 0
                peak_g = added_g * (1 if whole else 0.4) * rng.uniform(0.5, 1.5)
                turn(half / 2, peak_g * faster**2 / math.sqrt(max(1, half / 2)))

        signal = np.zeros(WINDOW)
        for multiple, phasor in orders.items():
            if multiple * speed_hz < RATE_HZ / 2:
                gain = self._response(np.array([multiple * speed_hz]))[0]
                signal += gain * abs(phasor) * np.sin(multiple * shaft + np.angle(phasor))
        signal += self._flow(rng, load * faster)
        if fault in {"outer race", "inner race"}:
            signal += self._impacts(rng, shaft, fault, added_g * faster * (0.5 + 0.5 * load))

        signal = self.gain * signal + self.offset_g + rng.normal(0, NOISE_G, WINDOW)
        signal = np.clip(signal, -RANGE_G, RANGE_G - STEP_G)
        return np.asarray(np.rint(signal / STEP_G) * STEP_G, np.float32)

    def _response(self, hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 + sum((mode.response(hz) for mode in self.modes), np.zeros(len(hz)))

    def _flow(self, rng: np.random.Generator, draught: float) -> NDArray[np.float64]:
        """Pink-like noise that the structure colours; its rms grows with load and speed."""
        hz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
        shape = self._response(hz) / np.sqrt(1 + hz / 100)
        shape[0] = 0
        parts = rng.normal(size=len(hz)) + 1j * rng.normal(size=len(hz))
        noise = np.fft.irfft(parts * shape, WINDOW)
        rms = math.sqrt(2 * float((shape**2).sum()) * 2) / WINDOW
        return self.flow_g * draught / rms * noise

    def _impacts(
        self, rng: np.random.Generator, shaft: NDArray[np.float64], fault: str, peak_g: float
    ) -> NDArray[np.float64]:
        """The ringing of the last mode after each pass of a ball over the defect.

        P. D. McFadden, J. D. Smith, "Model for the vibration produced by a single point defect in
        a rolling element bearing", J. Sound and Vibration 96 (1984) 69-82: a defect of the outer
        race stands where the load is; one of the inner race turns through the load zone, whose
        load is cos(angle)^1.5 (Stribeck, balls, half the ring loaded).
        """
        mode = self.modes[-1]
        passes = BPFO if fault == "outer race" else BPFI
        turns = shaft / (2 * math.pi)
        count = int(turns[-1] * passes) + 3
        at = rng.uniform(-1, 0) + np.arange(count) + SLIP * np.cumsum(rng.normal(size=count))
        seconds = np.interp(at / passes, turns, np.arange(WINDOW) / RATE_HZ, left=-1, right=-1)
        force = np.full(count, peak_g) * rng.uniform(0.8, 1.2, count)
        if fault == "inner race":
            zone = np.cos(2 * math.pi * at / passes + rng.uniform(0, 2 * math.pi))
            force *= np.maximum(0, zone) ** 1.5

        signal = np.zeros(WINDOW + 128)
        omega = 2 * math.pi * mode.hz
        first = np.ceil(seconds * RATE_HZ).astype(np.int64)
        steps = np.arange(128)  # 40 ms, where the ringing is 1e-5 of its beginning
        for start, moment, hit in zip(first, seconds, force, strict=True):
            if 0 <= start < WINDOW:
                after = (start + steps) / RATE_HZ - moment
                decay = np.exp(-mode.damping * omega * after)
                signal[start : start + 128] += hit * decay * np.sin(omega * after)
        return signal[:WINDOW]
