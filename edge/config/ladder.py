"""What a pipeline gives up, rung by rung, to keep its deadline; and what it is on each rung."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from edge.config.cache import Cache
from edge.config.model import Model
from edge.config.names import plain_name
from edge.options import Options

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from edge.config.pipeline import Pipeline
    from edge.config.problems import Place
    from edge.sources.base import SourceOptions

FULL = "full"
"""The name of rung 0: the pipeline as it is configured."""
REPLACED = ("model", "every", "cache")
GIVES_UP = (*REPLACED, "fps", "width", "height")


def _rung_name(value: str) -> str:
    if value == FULL:
        raise ValueError(f"`{FULL}` is the name of the pipeline as it is configured")
    return plain_name(value)


class Rung(Options):
    """A step down: what is given up here, in addition to the rungs before."""

    name: Annotated[str, AfterValidator(_rung_name)] = Field(
        description="What it is called in predictions, metrics and events."
    )
    model: Model | None = Field(
        default=None, description="Another model, whole: nothing of the one above is taken over."
    )
    fps: Annotated[float, Field(ge=0.0001, le=10_000)] | None = Field(
        default=None, description="Frames a second asked of the sources, which are opened anew."
    )
    width: Annotated[int, Field(ge=16, le=8192)] | None = Field(
        default=None, description="Width asked of the sources; it goes with `height`."
    )
    height: Annotated[int, Field(ge=16, le=8192)] | None = Field(
        default=None, description="Height asked of the sources; it goes with `width`."
    )
    every: Annotated[int, Field(ge=2, le=10_000)] | None = Field(
        default=None, description="Only every n-th frame is run; the others are counted as skipped."
    )
    cache: Cache | None = Field(
        default=None, description="Whether results of an input seen before are used again."
    )


class Ladder(Options):
    """What to give up when the device is too slow, too hot or too busy, and when."""

    rungs: Annotated[list[Rung], Field(min_length=1, max_length=16)] = Field(
        description="From best to cheapest; above them is the pipeline as it is configured."
    )
    window_s: float = Field(
        default=5,
        ge=1,
        le=120,
        description="Sliding window that is judged, in seconds; of a slow source as many as its "
        "last 20 frames take.",
    )
    max_miss_share: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="One rung down when a larger share of the window's frames missed the "
        "deadline; 0.01 is a P99 at the deadline.",
    )
    max_p99_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = Field(
        default=None,
        description="One rung down when the window's P99 is above this, before the deadline is "
        "missed; only the deadline counts if not given.",
    )
    max_temperature_c: Annotated[float, Field(ge=20, le=150)] | None = Field(
        default=80,
        description="One rung down when the hottest sensor is above this, up again 5 degrees "
        "below; `null` heeds none. The firmware of a Raspberry Pi slows the cores from 80 on.",
    )
    heed_throttling: bool = Field(
        default=True,
        description="Whether it is a reason to step down that a Raspberry Pi's firmware holds "
        "the cores back for under-voltage or heat.",
    )
    retry_s: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="The rung above is tried again after so many seconds without a sign that it "
        "would do; twice as long after each try that failed, up to 20 times.",
    )


def rung_names(pipeline: Pipeline) -> list[str]:
    """Return the names of a pipeline's rungs, from the best; without a ladder `full` alone."""
    below = pipeline.ladder.rungs if pipeline.ladder else []
    return [FULL, *(rung.name for rung in below)]


def pipeline_on_each_rung(pipeline: Pipeline, without: Container[int] = ()) -> list[Pipeline]:
    """Return what the pipeline is on each rung, from the best; none of them has a ladder.

    What the rungs `without` give up is not given up below them either.
    """
    found = [pipeline.model_copy(update={"ladder": None})]
    for number, rung in enumerate(pipeline.ladder.rungs if pipeline.ladder else [], 1):
        found.append(found[-1] if number in without else _one_down(found[-1], rung))
    return found


def ladder_problems(pipeline: Pipeline) -> Iterator[tuple[Place, str]]:
    """Find what cannot work on a pipeline's ladder; places are within the pipeline."""
    if pipeline.ladder is None:
        return
    if not pipeline.live:
        text = "is for live sources: a pulled one waits for the model, none of its frames is late"
        yield ("ladder",), text
        return
    above = pipeline.model_copy(update={"ladder": None})
    names: set[str] = set()
    for index, rung in enumerate(pipeline.ladder.rungs):
        place = ("ladder", "rungs", index)
        if rung.name in names:
            yield (*place, "name"), f"another rung is called `{rung.name}`"
        names.add(rung.name)
        given = [name for name in GIVES_UP if getattr(rung, name) is not None]
        if not given:
            yield place, f"gives up nothing: set one of {', '.join(f'`{n}`' for n in GIVES_UP)}"
        for field, text in _wrong(above, rung):
            yield (*place, field), text
        above = _one_down(above, rung)


def _one_down(above: Pipeline, rung: Rung) -> Pipeline:
    changed = {name: value for name in REPLACED if (value := getattr(rung, name)) is not None}
    return above.model_copy(update=changed).with_sources(lambda source: _lowered(source, rung))


def _lowered(source: SourceOptions, rung: Rung) -> SourceOptions:
    """Return a source's options with its rate and size lowered, where it has them and more."""
    changed: dict[str, object] = {}
    if rung.fps is not None and _rate(source) > rung.fps:
        changed["fps"] = rung.fps
    if rung.width and rung.height and _pixels(source) > rung.width * rung.height:
        changed |= {"width": rung.width, "height": rung.height}
    return source.model_copy(update=changed) if changed else source


def _wrong(above: Pipeline, rung: Rung) -> Iterator[tuple[str, str]]:
    """Find the fields of a rung that give up nothing, or cannot."""
    sources = above.all_sources.values()
    if rung.fps is not None:
        fastest = max(map(_rate, sources))
        if not fastest:
            yield "fps", "no source has an `fps` to be lowered here; `every` does without one"
        elif rung.fps >= fastest:
            yield "fps", f"must be less than {fastest:g}, that of the rung above"
    if (rung.width is None) != (rung.height is None):
        yield ("width" if rung.width else "height"), "`width` and `height` go together: give both"
    elif rung.width and rung.height:
        most = max(map(_pixels, sources))
        if not most:
            yield "width", "no source has a size that can be asked for"
        elif rung.width * rung.height >= most:
            yield "width", f"must give fewer than {most:,} pixels, those of the rung above"
    if rung.every is not None and rung.every <= above.every:
        yield "every", f"must be more than {above.every}, that of the rung above"
    for name in ("model", "cache"):
        if getattr(rung, name) == getattr(above, name):
            yield name, "is that of the rung above"


def _rate(source: SourceOptions) -> float:
    """Return the frames a second asked of a source, 0 where none can be."""
    return (source.rate or 0) if "fps" in type(source).model_fields else 0


def _pixels(source: SourceOptions) -> int:
    """Return the size asked of a source, 0 where none can be."""
    return getattr(source, "width", 0) * getattr(source, "height", 0)
