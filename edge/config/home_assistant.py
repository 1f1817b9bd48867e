"""Home Assistant: whether it finds this device through the broker, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from edge.config.mqtt import topic
from edge.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Occupancy(Options):
    """A binary sensor: on while a pipeline sees a label, and for a while after."""

    pipeline: str = Field(description="Name of the pipeline.")
    label: str = Field(min_length=1, max_length=255, description="The label to watch for.")
    min_score: float = Field(
        default=0.5, description="A prediction with a lower score does not count."
    )
    off_delay_s: float = Field(
        default=30,
        ge=1,
        le=86_400,
        description="Off when none of the pipeline's sources saw the label for so many seconds.",
    )


class HomeAssistant(Options):
    """Whether Home Assistant finds this device through the broker, and what it is told."""

    enabled: bool = Field(
        default=False,
        description="Whether the device is announced; switched off, what was announced is removed.",
    )
    prefix: Annotated[str, AfterValidator(topic)] = Field(
        default="homeassistant",
        max_length=512,
        description="Home Assistant's discovery prefix; the device is announced on "
        "`PREFIX/device/ID/config`.",
    )
    birth_topic: Annotated[str, AfterValidator(topic)] = Field(
        default="homeassistant/status",
        max_length=512,
        description="Where Home Assistant says `online`; the device is then announced again.",
    )
    min_interval_s: float = Field(
        default=1,
        ge=0.1,
        le=3600,
        description="A pipeline's state is published at most once in so many seconds, however "
        "often its top label changes.",
    )
    interval_s: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="Seconds between two states when no label changes; scores, P99, fps, misses "
        "and temperature go out this often.",
    )
    occupancy: list[Occupancy] = Field(
        default=[], description="Labels that become occupancy sensors."
    )


def occupancy_problems(
    home_assistant: HomeAssistant, pipelines: Iterable[str]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Find sensors of a pipeline that is not there, and two of one label.

    Yields the place below `home_assistant`, and what is wrong there.
    """
    names = list(pipelines)
    seen: set[tuple[str, str]] = set()
    for index, each in enumerate(home_assistant.occupancy):
        if each.pipeline not in names:
            known = ", ".join(names)
            yield ("occupancy", index, "pipeline"), f"there is no such pipeline; known: {known}"
        if (each.pipeline, each.label) in seen:
            yield ("occupancy", index), f"watches {each.label!r} of {each.pipeline} a second time"
        seen.add((each.pipeline, each.label))
