"""What a bench found, as it is printed, saved and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edge.lab.machine import Machine
from edge.lab.statistics import histogram_ns
from edge.lab.subject import CONTROL
from edge.latency.hdr_codec import decode, encode

if TYPE_CHECKING:
    from pathlib import Path

    from edge.engines.model_summary import ModelSummary
    from edge.lab.bench import Failure, Plan, Run
    from edge.lab.subject import Subject
    from edge.latency.histogram import Histogram


class Part(BaseModel):
    """A part of the report: strict, because a saved one comes from outside."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _decodable(text: str) -> str:
    if not decode(text).count:
        raise ValueError("an empty histogram")
    return text


Milliseconds = Annotated[float, Field(ge=0)]
InputSize = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
HdrHistogram = Annotated[str, AfterValidator(_decodable)]


class Latency(Part):
    """Durations of `invoke()` alone, or of a stage of the loop, in milliseconds, kept to 0.1 %.

    A percentile that so few invokes are no ground for is null.
    """

    count: Annotated[int, Field(ge=1)]
    mean: Milliseconds
    p50: Milliseconds | None
    p90: Milliseconds | None
    p95: Milliseconds | None
    p99: Milliseconds | None
    p99_9: Milliseconds | None
    max: Milliseconds

    @property
    def median(self) -> float:
        """P50; the mean of so few invokes that there is none."""
        return self.mean if self.p50 is None else self.p50


class Identity(Part):
    """Which subject something is about: one model on one engine with so many threads."""

    model: str
    """The file's name."""
    engine: str
    threads: int
    input_size: InputSize | None
    """Width and height the model's picture was resized to; null: as its file has it."""
    batch: Annotated[int, Field(ge=1)] = 1
    """Frames to a forward pass."""

    @property
    def identity(self) -> dict[str, Any]:
        """These fields, for another part about the same subject."""
        return {name: getattr(self, name) for name in Identity.model_fields}


class SubjectReport(Identity):
    """What was measured of a subject."""

    digest: str
    engine_version: str
    inputs: list[str]
    outputs: list[str]
    init_ms: Milliseconds
    """Importing the engine, loading the model, planning its memory."""
    first_invoke_ms: Milliseconds
    warm_up_invokes: int
    """Run at the start of the slices, and in no figure."""
    latency_ms: Latency
    throughput_hz: Annotated[float, Field(gt=0)]
    """Frames a second: with each forward pass as many as `batch`."""
    rss_bytes: int
    slice_p50_ms: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """The median of each slice, in the order they were measured."""
    hdr_ns: HdrHistogram
    """All durations in nanoseconds, as an HdrHistogram in V2 compressed encoding, base64."""

    @property
    def key(self) -> tuple[str, str, int, InputSize | None, int]:
        """What tells it from the other subjects, in this report and in others."""
        return (self.digest, self.engine, self.threads, self.input_size, self.batch)

    @property
    def histogram(self) -> Histogram:
        """All durations, in nanoseconds."""
        return decode(self.hdr_ns)


class Accuracy(Part):
    """How many labelled pictures a model's best class was right for."""

    right: int
    pictures: int
    unreadable: int

    @property
    def share(self) -> float:
        """Right ones of those that could be read."""
        return self.right / self.pictures


class ModelReport(Part):
    """What a model is, by its file; and its accuracy, where pictures were given."""

    file: str
    digest: str
    size_bytes: int
    inputs: list[str]
    """As the file has them."""
    operators: int
    macs: int
    """Multiply-accumulates of one forward pass, at the shapes in the file."""
    uncounted_operators: int
    """How many operators are missing in `macs`."""
    accuracy: Accuracy | None = None


class FailureReport(Identity):
    """A subject that could not be measured."""

    error: str


class Report(Part):
    """One run of the bench."""

    format: Literal["edge-bench"]
    version: Literal[1]
    at: str
    """UTC, by this machine's clock."""
    rate_hz: float | None
    """Starts a second when the invokes were paced; null: as fast as possible."""
    seconds: float
    slice_s: float
    machine: Machine
    control_ms: list[Annotated[float, Field(gt=0)]]
    """What the control took in each of its slices, on average: how fast the machine itself was."""
    models: list[ModelReport]
    subjects: list[SubjectReport]
    failures: list[FailureReport]

    @property
    def pace(self) -> str:
        """Which of the two was measured."""
        if self.rate_hz is None:
            return "as fast as possible: each invoke follows the last, so caches are warm"
        return (
            f"paced: {self.rate_hz:g} invokes a second, asleep between them as with a camera, so "
            "caches are cold"
        )


def make_report(
    *,
    at: str,
    machine: Machine,
    plan: Plan,
    models: list[ModelReport],
    digests: dict[Path, str],
    runs: list[Run],
    failures: list[Failure],
) -> Report:
    """Put the report together; `digests` are by the path of the model."""
    return Report(
        format="edge-bench",
        version=1,
        at=at,
        rate_hz=plan.rate_hz,
        seconds=plan.seconds,
        slice_s=plan.slice_s,
        machine=machine,
        control_ms=[
            round(float(np.mean(each)) / 1e6, 6)
            for run in runs
            if run.subject == CONTROL
            for each in run.slices_ns
        ],
        models=models,
        subjects=[
            report_run(run, digests[run.subject.model]) for run in runs if run.subject != CONTROL
        ],
        failures=[report_failure(failure) for failure in failures],
    )


def report_run(run: Run, digest: str) -> SubjectReport:
    """Return the figures of one subject."""
    subject, loaded = run.subject, run.probe.loaded
    histogram = histogram_ns(run.slices_ns)
    count = histogram.count
    return SubjectReport(
        **_identity(subject),
        digest=digest,
        engine_version=subject.engine_version,
        inputs=loaded.inputs,
        outputs=loaded.outputs,
        init_ms=loaded.init_ms,
        first_invoke_ms=loaded.first_invoke_ms,
        warm_up_invokes=run.warm_up_invokes,
        latency_ms=latency_of(histogram),
        throughput_hz=round(count * subject.batch * 1e9 / run.elapsed_ns, 3),
        rss_bytes=run.rss_bytes,
        slice_p50_ms=[round(float(np.median(each)) / 1e6, 6) for each in run.slices_ns],
        hdr_ns=encode(histogram),
    )


def report_failure(failure: Failure) -> FailureReport:
    """Return what is told of a subject that could not be measured."""
    return FailureReport(**_identity(failure.subject), error=str(failure.error))


def _identity(subject: Subject) -> dict[str, Any]:
    facts = {name: getattr(subject, name) for name in Identity.model_fields}
    return facts | {"model": subject.model.name}


def report_model(summary: ModelSummary, accuracy: Accuracy | None = None) -> ModelReport:
    """Return what a model's file says of itself."""
    return ModelReport(
        file=summary.path.name,
        digest=summary.sha256,
        size_bytes=summary.size_bytes,
        inputs=[f"{tensor.dtype} {list(tensor.shape)}" for tensor in summary.inputs],
        operators=sum(summary.operators.values()),
        macs=summary.macs,
        uncounted_operators=sum(summary.uncounted_operators.values()),
        accuracy=accuracy,
    )


def latency_of(histogram: Histogram) -> Latency:
    """Return the figures of a histogram of nanoseconds, which is not empty, in milliseconds."""
    return Latency(
        count=histogram.count,
        mean=_milliseconds(histogram.mean),
        p50=_percentile(histogram, 50),
        p90=_percentile(histogram, 90),
        p95=_percentile(histogram, 95),
        p99=_percentile(histogram, 99),
        p99_9=_percentile(histogram, 99.9),
        max=_milliseconds(histogram.max),
    )


def _percentile(histogram: Histogram, q: float) -> float | None:
    value = histogram.supported_percentile(q)
    return None if value is None else _milliseconds(value)


def _milliseconds(nanoseconds: float) -> float:
    return round(nanoseconds / 1e6, 6)
