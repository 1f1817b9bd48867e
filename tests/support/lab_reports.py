"""Makes reports of the latency lab from given durations, as a bench would have measured them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.lab.machine import Machine
from edge.lab.report import Accuracy, ModelReport, Report, SubjectReport, latency_of
from edge.lab.statistics import histogram_ns
from edge.latency.hdr_codec import encode

MACHINE = Machine(
    cpu="Raspberry Pi 4 Model B Rev 1.4",
    machine="aarch64",
    cores=4,
    kernel="6.12",
    python="3.11.2",
    governor="ondemand",
)
Slices = Sequence[Sequence[float]]


def subject(slices_ms: Slices, **facts: Any) -> SubjectReport:
    """Return a subject whose invokes took so long, slice by slice."""
    slices_ns = [np.asarray(np.asarray(each) * 1e6, np.int64) for each in slices_ms]
    histogram = histogram_ns(slices_ns)
    known: dict[str, Any] = {
        "model": "a.tflite",
        "digest": "aa",
        "engine": "litert",
        "engine_version": "2.3.0",
        "threads": 1,
        "input_size": None,
        "inputs": ["uint8 [1, 4, 4, 3]"],
        "outputs": ["uint8 [1, 2]"],
        "init_ms": 5.0,
        "first_invoke_ms": 2.0,
        "warm_up_invokes": 40,
        "latency_ms": latency_of(histogram),
        "throughput_hz": 100.0,
        "rss_bytes": 50_000_000,
        "slice_p50_ms": [float(np.median(each)) for each in slices_ms],
        "hdr_ns": encode(histogram),
    }
    return SubjectReport(**known | facts)


def model(
    digest: str = "aa", size_bytes: int = 1000, accuracy: Accuracy | None = None
) -> ModelReport:
    """Return a model named after its digest."""
    return ModelReport(
        file=f"{digest[0]}.tflite",
        digest=digest,
        size_bytes=size_bytes,
        inputs=["uint8 [1, 4, 4, 3]"],
        operators=3,
        macs=12_000_000,
        uncounted_operators=0,
        accuracy=accuracy,
    )


def report(subjects: Sequence[SubjectReport], **facts: Any) -> Report:
    """Return a report of these subjects on a Raspberry Pi."""
    known: dict[str, Any] = {
        "format": "edge-bench",
        "version": 1,
        "at": "2026-01-02T03:04:05.678Z",
        "rate_hz": None,
        "seconds": 5.0,
        "slice_s": 0.25,
        "machine": MACHINE,
        "control_ms": [0.1] * 20,
        "models": [model()],
        "subjects": list(subjects),
        "failures": [],
    }
    return Report(**known | facts)
