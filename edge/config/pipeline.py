"""One pipeline: its source, its model, its decoder, its deadline."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edge.config.cache import Cache
from edge.config.cpu import Cpu
from edge.config.ladder import Ladder
from edge.config.model import Model
from edge.decoders.base import DecoderOptions
from edge.decoders.classification import ClassificationOptions
from edge.options import Options
from edge.plugins import chosen_by_type
from edge.sources.base import SourceOptions

if TYPE_CHECKING:
    AnySource = SourceOptions
    AnyDecoder = DecoderOptions
else:
    AnySource = chosen_by_type("edge.sources", SourceOptions)
    AnyDecoder = chosen_by_type("edge.decoders", DecoderOptions)


class Publish(Options):
    """Which results go out, and how often at most."""

    when: Literal["every", "changed"] = Field(
        default="every",
        description="`every` result, or only one whose labels differ from the last published.",
    )
    min_interval_ms: float = Field(
        default=0,
        ge=0,
        le=86_400_000,
        description="At most one result each so many milliseconds; 0 is no limit. A change that "
        "falls into the pause is published when it ends, if it still holds.",
    )


class Pipeline(Options):
    """One engine, its source, its decoder and its deadline."""

    source: AnySource = Field(description="Where frames come from, told by `type`.")
    model: Model = Field(description="The model and how a frame becomes its input.")
    decode: AnyDecoder = Field(
        default_factory=lambda: ClassificationOptions(type="classification"),
        description="What the output tensors mean, told by `type`.",
    )
    deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] = Field(
        default=100,
        description="A result is in time when it is ready so many milliseconds after capture.",
    )
    on_late: Literal["drop", "run"] = Field(
        default="drop",
        description="What happens to a frame already past its deadline before the forward "
        "pass; a pulled source's frames are always run.",
    )
    every: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Only every n-th frame is run; the others are counted as skipped.",
    )
    rehearse: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the last frame is run again just before the next is due, so that "
        "caches and core are warm for it: `auto` where that costs at most a twentieth of a core. "
        "A model that keeps state is never rehearsed.",
    )
    cpu: Cpu = Field(
        default=Cpu(), description="The place of the pipeline's process among all others."
    )
    publish: Publish = Field(default=Publish(), description="Which results are published.")
    cache: Cache = Field(
        default=Cache(), description="Whether results of an input seen before are used again."
    )
    ladder: Ladder | None = Field(
        default=None, description="What to give up when the deadline cannot be kept otherwise."
    )
