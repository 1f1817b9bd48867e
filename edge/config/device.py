"""The device: what one YAML file describes."""

import socket
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from edge.config.commands import Commands
from edge.config.home_assistant import HomeAssistant
from edge.config.mqtt import Mqtt, topic_level
from edge.config.names import level_name
from edge.config.pipeline import Pipeline
from edge.config.recorder import Recorder
from edge.config.updates import Updates
from edge.options import Options
from edge.plugins import chosen_by_type
from edge.sinks.base import SinkOptions

if TYPE_CHECKING:
    AnySink = SinkOptions
else:
    AnySink = chosen_by_type("edge.sinks", SinkOptions)


class Telemetry(Options):
    """How often figures are published, and what is told of the machine."""

    interval_s: float = Field(
        default=10,
        ge=0.5,
        le=3600,
        description="Seconds between two metrics messages: the window of their figures.",
    )
    max_temperature_c: Annotated[float, Field(ge=20, le=150)] | None = Field(
        default=80,
        description="The event `too_hot` is told when the hottest sensor is above this; `null` "
        "tells none. The firmware of a Raspberry Pi slows the cores from 80 on.",
    )


class Device(Options):
    """One machine running one daemon."""

    device: Annotated[str, AfterValidator(topic_level)] = Field(
        default_factory=socket.gethostname,
        description="Name of the device, a level of its topics; the host name if not given.",
    )
    mqtt: Mqtt = Field(default=Mqtt(), description="The broker that results go to.")
    telemetry: Telemetry = Field(default=Telemetry(), description="How often figures go out.")
    recorder: Recorder = Field(
        default=Recorder(), description="What becomes of the flight recorder's traces."
    )
    commands: Commands = Field(
        default=Commands(), description="Which commands it obeys that come over MQTT."
    )
    updates: Updates = Field(
        default=Updates(), description="Whose models are taken over the air, and from where."
    )
    home_assistant: HomeAssistant = Field(
        default=HomeAssistant(), description="Whether Home Assistant finds the device."
    )
    sinks: list[AnySink] = Field(
        default=[], description="Where all messages go beside the broker, each told by `type`."
    )
    wake_up_limit_us: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Longest time a sleeping core may take to wake up; less than it takes from "
        "its deeper sleep costs power all the time, and needs access to /dev/cpu_dma_latency.",
    )
    pipelines: Annotated[
        dict[Annotated[str, AfterValidator(level_name)], Pipeline], Field(min_length=1)
    ] = Field(description="The pipelines by name; they run side by side.")
