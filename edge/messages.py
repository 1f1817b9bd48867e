"""What is said on each MQTT topic: the dataclass is the documentation of the payload.

Every payload is one JSON object, but for `status`, which is the bare word. Times named `_at`
are UTC in ISO 8601 with milliseconds. Of ours it imports names of events and parts of messages.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from edge.event_names import EventName
from edge.info_parts import AcceleratorInfo, EngineInfo, ModelInfo
from edge.result_parts import Cached, Latency, Request
from edge.update_info import UpdateInfo

ONLINE, OFFLINE = "online", "offline"
STAGES = ("capture", "wait", "preprocess", "inference", "decode")
"""The stages between capture and result, in the order they are blamed in; they sum up to it."""


def status_topic(base_topic: str, device: str) -> str:
    """Return the topic of the retained word `online` or `offline`, which is also the will."""
    return f"{base_topic}/{device}/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What all payloads have in common."""

    topic_name: ClassVar[str]
    qos: ClassVar[int] = 1
    retain: ClassVar[bool] = False

    device: str
    boot: str
    """Changes with every start of the daemon."""

    def topic(self, base_topic: str) -> str:
        """Return the topic this message goes to."""
        pipeline = getattr(self, "pipeline", None)
        levels = [base_topic, self.device, *([pipeline] if pipeline else []), self.topic_name]
        return "/".join(levels)

    @property
    def worth(self) -> float:
        """What it is worth to be kept, where the spool cannot keep all."""
        return float("inf")

    def to_json(self) -> bytes:
        """Return the payload: UTF-8 JSON without insignificant white space."""
        return json.dumps(
            self, default=_fields_of, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode("utf-8", "replace")  # a file's name may be no UTF-8


def _fields_of(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Message):
    """`BASE/DEVICE/PIPELINE/predictions`: what the model said of one frame."""

    topic_name: ClassVar[str] = "predictions"

    pipeline: str
    source: str
    """Its name among the pipeline's `sources`; a single `source` goes by its type."""
    sequence: int
    """Counts this pipeline's published results within the boot: 0, 1, 2, without gaps."""
    frame: int
    """The source's frame number; it has gaps where frames were dropped."""
    file: str | None
    """The file the frame came from, where it came from one."""
    captured_at: str
    clock_synced: bool
    """Whether the device's clock was set when this was written; a Pi starts in the past."""
    model: str
    """The model's file name."""
    model_digest: str
    """SHA-256 of the model's file, in hex."""
    rung: int
    """Of the ladder that the frame was run on; 0 is the pipeline as it is configured."""
    rung_name: str
    """`full` for rung 0."""
    predictions: list[dict[str, Any]]
    """Best first; `classification` gives {label, index, score}, `centroids` {label, index, score,
    x, y, x_px, y_px, cells}, `raw` {output, shape, values}."""
    truth: str | None
    """The true label, where the source knows it."""
    cached: Cached | None
    """Null when the forward pass ran for this very frame."""
    batch: int
    """How many frames shared the forward pass."""
    latency_ms: Latency
    deadline_ms: float
    deadline_met: bool
    request: Request | None
    """Null where the frame came from no broker."""

    @property
    def worth(self) -> float:
        """The best score; 0 where nothing was found."""
        return max((float(each.get("score") or 0) for each in self.predictions), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult(Result):
    """`BASE/DEVICE/PIPELINE/SOURCE/predictions`: the same, where there are several sources."""

    def topic(self, base_topic: str) -> str:
        """Return the topic, which has a level for the source."""
        return f"{base_topic}/{self.device}/{self.pipeline}/{self.source}/{self.topic_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """A distribution in milliseconds; null where the sample is too small to say."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    """Null below 100 samples."""
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Percentiles):
    """A distribution in milliseconds with its histogram, so that windows and devices merge."""

    p99_9: float | None
    """Null below 1,000 samples."""
    hdr: str
    """The histogram in microseconds: HdrHistogram's V2 compressed encoding, base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Frames that got no result, each counted once, by where they were lost."""

    mailbox: int
    """Replaced by a newer frame before the model was free: normal where the camera is faster."""
    deadline: int
    """Past their deadline before the forward pass (`on_late: drop`)."""
    source: int
    """Due by the source's clock but never taken: this process or the machine stood still."""
    skipped: int
    """Passed over because only every n-th frame is run (`every`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """Frames answered from the cache (`hits`), and those that were run (`misses`)."""

    hits: int
    """In the window; hits and misses together are `frames`."""
    hits_total: int
    misses: int
    misses_total: int
    latency_ms: Distribution
    """Capture to result of the hits in the window."""
    latency_total_ms: Distribution
    """The same since the pipeline was configured."""
    acknowledged_ms: Percentiles
    """Capture to the broker's acknowledgement, of the hits in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderFigures:
    """What a pipeline has given up so far, and for how long; since it was configured."""

    steps_down_total: int
    steps_up_total: int
    seconds_total: dict[str, float]
    """Spent on each rung, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorFigures:
    """Whether a pipeline has its accelerator, and for how long it had not."""

    in_use: bool
    """Whether it runs the model; if not, the CPU does, or nothing yet."""
    losses_total: int
    """How often it could not be used, or gave up; since the pipeline was configured, as below."""
    cpu_seconds_total: float
    """Spent without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowFigures:
    """A model that answers some frames again, unheard; all since it began to run in shadow."""

    model: str
    """Its file name."""
    model_digest: str
    """SHA-256 of its file, in hex."""
    share: float
    """Of the frames, that it is to answer; of those only that were really run."""
    frames: int
    """That it has answered, or failed to."""
    agreed: int
    """Frames of which it said the same as the model that serves."""
    agreement: float | None
    """Their share of the frames that it answered; null where there is none."""
    skipped: int
    """Frames of its share for which there was no time before the next one."""
    failed: int
    """Frames that it could not answer."""
    failure: str | None
    """Why, the last time."""
    inference_ms: Percentiles
    """Its forward passes."""
    serving_inference_ms: Percentiles
    """Those of the model that serves, on the same frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFigures:
    """What the metrics of a pipeline say of one of its sources; each means what it does there."""

    frames: int
    frames_total: int
    fps: float
    dropped: Dropped
    dropped_total: Dropped
    failed: int
    failed_total: int
    deadline_ms: float
    """Of this source's frames."""
    deadline_misses: int
    deadline_misses_total: int
    deadline_blame: dict[str, int]
    latency_ms: Distribution
    latency_total_ms: Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Message):
    """`BASE/DEVICE/PIPELINE/metrics`: how fast, how late, how many, every `interval_s`.

    A change of rung or model ends a window early, so that each is about one rung of one model.
    """

    topic_name: ClassVar[str] = "metrics"
    qos: ClassVar[int] = 0

    pipeline: str
    state: Literal["starting", "running", "paused", "failed", "ended", "stopped"]
    at: str
    clock_synced: bool
    window_s: float
    """What the plain figures are about; `_total` ones are since the pipeline was configured."""
    frames: int
    """Results in the window, cached ones among them."""
    frames_total: int
    fps: float
    dropped: Dropped
    dropped_total: Dropped
    failed: int
    """Frames that could not be read or decoded."""
    failed_total: int
    deadline_ms: float
    deadline_misses: int
    """Results that came too late, and frames dropped for it."""
    deadline_misses_total: int
    deadline_blame: dict[str, int]
    """The misses by the stage that spent the most over its usual time."""
    latency_ms: Distribution
    """Capture to result, in the window; of forward passes only, never of the cache's hits."""
    latency_recent_ms: Distribution
    """The same over the last five minutes."""
    latency_total_ms: Distribution
    """The same since the pipeline was configured, over all its workers."""
    stages_ms: dict[str, Percentiles]
    """Each stage in the window, of forward passes only."""
    acknowledged_ms: Percentiles
    """Capture to the broker's acknowledgement, in the window, of forward passes only."""
    cache: CacheFigures | None
    """Null when the cache is off, on every rung."""
    sources: dict[str, SourceFigures] | None
    """Each source by name, where the pipeline has several; all else here is of all of them."""
    rung: int
    """Of the ladder that the window is about; 0 is the pipeline as it is configured."""
    rung_name: str
    ladder: LadderFigures | None
    """Null without a ladder."""
    accelerator: AcceleratorFigures | None
    """Null where the model has none."""
    shadow: ShadowFigures | None
    """Null where no model runs in shadow."""
    rss_bytes: int | None
    """Resident memory of the worker; null while there is none."""
    supervisor_rss_bytes: int
    temperature_c: float | None
    """Of the device's hottest zone; null where it does not tell."""
    waiting: int
    """Messages of all pipelines that the broker has not acknowledged."""
    spooled: int
    """Those of them that lie on disk."""
    undelivered_total: int
    """Messages given up since the start: too many waited, or for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Message):
    """`BASE/DEVICE/PIPELINE/events`, or `BASE/DEVICE/events`: something happened."""

    topic_name: ClassVar[str] = "events"

    pipeline: str | None
    sequence: int
    """Counts the device's events within the boot: 0, 1, 2, without gaps."""
    at: str
    clock_synced: bool
    event: EventName
    message: str
    """One sentence for a person."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInfo:
    """One pipeline as it is configured and as it came up."""

    state: Literal["starting", "running", "paused", "failed", "ended", "stopped"]
    overrides: dict[str, float]
    """What the command `set` has put in the place of the YAML's `threshold` and `deadline_ms`."""
    sources: dict[str, str]
    """The type of each source, by name."""
    deadline_ms: float
    on_late: str
    decoder: str
    rung: int
    """Of its ladder that it is on; model and engine are that rung's."""
    rungs: list[str]
    """Names of its ladder's rungs, from the best; without a ladder `full` alone."""
    model: ModelInfo | None
    engine: EngineInfo | None
    accelerator: AcceleratorInfo | None
    """Null where the model has none."""
    update: UpdateInfo | None
    """Null where no model ever came over the air."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info(Message):
    """`BASE/DEVICE/info`, retained: who this is and what it runs."""

    topic_name: ClassVar[str] = "info"
    retain: ClassVar[bool] = True

    at: str
    clock_synced: bool
    version: str
    python: str
    machine: str
    packages: dict[str, str]
    pipelines: dict[str, PipelineInfo]
