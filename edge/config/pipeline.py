"""One pipeline: its source, its model, its decoder, its deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from edge.config.cache import Cache
from edge.config.canary import Canary
from edge.config.cpu import Cpu
from edge.config.ladder import Ladder
from edge.config.model import Model
from edge.config.names import level_name
from edge.decoders.base import DecoderOptions
from edge.decoders.classification import ClassificationOptions
from edge.options import Options
from edge.plugins import chosen_by_type
from edge.sources.base import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

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


class Batch(Options):
    """Frames that share a forward pass, where the model's input can be resized."""

    max_size: int = Field(default=1, ge=1, le=64, description="How many frames at most; 1 is none.")
    max_wait_ms: float = Field(
        default=0,
        ge=0,
        le=10_000,
        description="How long a frame that is ready waits for others, at most. None waits, or is "
        "run with others, where a frame would miss a deadline that it meets alone.",
    )


class Pipeline(Options):
    """One engine, its sources, its decoder and its deadline."""

    source: AnySource | None = Field(
        default=None, description="Where frames come from, told by `type`."
    )
    sources: (
        Annotated[dict[Annotated[str, AfterValidator(level_name)], AnySource], Field(min_length=1)]
        | None
    ) = Field(
        default=None,
        description="Instead of `source`: several by name, each with a rate of its own. The "
        "engine serves them all, earliest deadline first, and none starves.",
    )
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
    rehearse: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the last frame is run again just before the next is due, so that "
        "caches and core are warm for it: `auto` where that costs at most a twentieth of a core. "
        "A model that keeps state is never rehearsed.",
    )
    batch: Batch = Field(
        default=Batch(), description="Whether several frames are run in one forward pass."
    )
    every: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Only every n-th frame of a source is run; the others are passed over "
        "undecoded, and counted as skipped.",
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
    canary: Canary = Field(
        default=Canary(),
        description="How a model that comes over the air is tried before it is trusted.",
    )

    @model_validator(mode="after")
    def _sources_fit(self) -> Self:
        if self.source is None and self.sources is None:
            raise ValueError("has no `source`, nor `sources`: frames must come from somewhere")
        if self.source is not None and self.sources is not None:
            raise ValueError("has both `source` and `sources`: write all of them in `sources`")
        pulled = [name for name, source in self.all_sources.items() if not source.live]
        if len(self.all_sources) > 1 and pulled:
            raise ValueError(
                f"`sources`: {pulled[0]} has no rate of its own (`fps`), so nothing says when its "
                "frames are due; give it `fps`, or a pipeline of its own"
            )
        return self

    @property
    def accelerated(self) -> bool:
        """Whether its model is run by an accelerator."""
        return self.model.accelerator is not None

    @property
    def as_run(self) -> Self:
        """The same to who runs it: how an update is tried is no business of a worker's."""
        return self.model_copy(update={"canary": Canary()})

    @property
    def all_sources(self) -> dict[str, SourceOptions]:
        """The sources by name, in order; a single `source` goes by its type."""
        if self.source is not None:
            return {self.source.type: self.source}
        return dict(self.sources or {})

    @property
    def live(self) -> bool:
        """Whether its sources have rates of their own; either all have, or it has one source."""
        return all(source.live for source in self.all_sources.values())

    def with_sources(self, change: Callable[[SourceOptions], SourceOptions]) -> Self:
        """Return the pipeline with each of its sources changed."""
        if self.source is not None:
            return self.model_copy(update={"source": change(self.source)})
        changed = {name: change(source) for name, source in self.all_sources.items()}
        return self.model_copy(update={"sources": changed})

    def deadline_of(self, source: str) -> float:
        """Return the deadline of a source's frames in milliseconds."""
        return self.all_sources[source].deadline_ms or self.deadline_ms
