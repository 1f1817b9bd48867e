"""Sources as the lab runs them: without an end, at another rate, or replaced by test frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from edge.errors import ConfigError, SourceError
from edge.sources.synthetic import SyntheticOptions

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline
    from edge.sources.base import SourceOptions


def endless(source: SourceOptions) -> SourceOptions:
    """Return the source as it never ends: files begin again after the last."""
    return (
        source.model_copy(update={"loop": True}) if "loop" in type(source).model_fields else source
    )


def stand_in(source: SourceOptions) -> SyntheticOptions:
    """Return test frames of a source's size and rate, as far as the configuration says them."""
    known = {field: getattr(source, field, None) for field in ("width", "height")}
    known["fps"] = source.rate
    given = {field: value for field, value in known.items() if value is not None}
    return SyntheticOptions.model_validate({"type": "synthetic", **given})


def test_frames(width: int, height: int, *, rate_hz: float | None) -> SyntheticOptions:
    """Return a test pattern of this size and rate; None: as fast as it is asked."""
    given = {"type": "synthetic", "width": width, "height": height, "fps": rate_hz}
    return SyntheticOptions.model_validate(given)


def describe(source: SourceOptions) -> str:
    """Return `camera 1280x720 at 30 fps`."""
    width, height = getattr(source, "width", None), getattr(source, "height", None)
    size = f" {width}x{height}" if width and height else ""
    if source.rate is not None:
        return f"{source.type}{size} at {source.rate:g} fps"
    return f"{source.type}{size}{'' if source.live else ', as fast as possible'}"


def describe_all(pipeline: Pipeline) -> str:
    """Return the sources of a pipeline, where there are several with their names."""
    if pipeline.source is not None:
        return describe(pipeline.source)
    named = (f"{name}: {describe(source)}" for name, source in pipeline.all_sources.items())
    return ", ".join(named)


def verify(name: str, pipeline: Pipeline) -> None:
    """Check what can be known of its sources. Raises ConfigError for what is certainly wrong."""
    for each, source in pipeline.all_sources.items():
        try:
            source.verify()
        except SourceError as error:
            place = "source" if pipeline.source is not None else f"sources.{each}"
            raise ConfigError(f"pipelines.{name}.{place}: {error}") from error


def at_rate(source: SourceOptions, rate_hz: float | None) -> SourceOptions:
    """Return the source at so many frames a second; None: as fast as it is asked.

    A camera or stream keeps its own pace where none is given. Raises ConfigError when the source
    cannot be run at the rate.
    """
    try:
        if "fps" in type(source).model_fields and not getattr(source, "stream", False):
            return type(source).model_validate(source.model_dump() | {"fps": rate_hz})
    except ValidationError:
        pass
    if rate_hz is None:
        return source
    raise ConfigError(f"--rate: a source of type `{source.type}` cannot be run at {rate_hz:g} Hz")
