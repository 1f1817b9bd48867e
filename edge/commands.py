"""What is said to a device: each command's request is a dataclass, and so is the answer to all.

A request is one JSON object on `BASE/DEVICE/command/NAME`; an empty payload is `{}`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from edge.messages import Message

CommandName = Literal[
    "ping",
    "pause",
    "resume",
    "set",
    "snapshot",
    "dump",
    "reload",
    "update-model",
    "promote-model",
    "rollback-model",
]
LONGEST_URL = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all requests have in common."""

    command: ClassVar[CommandName]
    __pydantic_config__: ClassVar[Any] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
        "str_max_length": 128,
    }

    id: str | None = None
    """Named in the answer, for those who cannot send correlation data; up to 128 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Request):
    """`BASE/DEVICE/command/ping`: say that you are there."""

    command: ClassVar[CommandName] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Request):
    """`BASE/DEVICE/command/pause`: let go of camera and model until `resume`."""

    command: ClassVar[CommandName] = "pause"

    pipeline: str
    paused: bool = True
    """False resumes: for a switch, which has one topic for both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Request):
    """`BASE/DEVICE/command/resume`: go on after `pause`."""

    command: ClassVar[CommandName] = "resume"

    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(Request):
    """`BASE/DEVICE/command/set`: use other values than the YAML's; what is left out stays."""

    command: ClassVar[CommandName] = "set"

    pipeline: str
    threshold: float | None = None
    """Lowest score that is reported, where the decoder has a threshold."""
    deadline_ms: float | None = None
    """Of sources that have no deadline of their own."""
    reset: bool = False
    """True goes back to the YAML's values first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Request):
    """`BASE/DEVICE/command/snapshot`: publish a picture of the next frame that is answered."""

    command: ClassVar[CommandName] = "snapshot"

    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump(Request):
    """`BASE/DEVICE/command/dump`: write what the flight recorder holds to a trace file."""

    command: ClassVar[CommandName] = "dump"

    pipeline: str | None = None
    """Null is all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload(Request):
    """`BASE/DEVICE/command/reload`: read the YAML again, as SIGHUP does."""

    command: ClassVar[CommandName] = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateModel(Request):
    """`BASE/DEVICE/command/update-model`: fetch a signed model, try it, let it serve.

    Answered when it is begun; what becomes of it is told by events.
    """

    command: ClassVar[CommandName] = "update-model"
    __pydantic_config__: ClassVar[Any] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
        "str_max_length": LONGEST_URL,
    }

    pipeline: str
    card: str
    """URL of the model's `card.yaml`; its signature is beside it, at the same with `.minisig`."""
    canary: dict[str, Any] | None = None
    """Other values than those of the pipeline's `canary:`, for this update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteModel(Request):
    """`BASE/DEVICE/command/promote-model`: let the model serve that runs in the shadow."""

    command: ClassVar[CommandName] = "promote-model"

    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackModel(Request):
    """`BASE/DEVICE/command/rollback-model`: end an update, or go back to the model before."""

    command: ClassVar[CommandName] = "rollback-model"

    pipeline: str


REQUESTS: dict[str, type[Request]] = {
    kind.command: kind
    for kind in (
        Ping,
        Pause,
        Resume,
        Set,
        Snapshot,
        Dump,
        Reload,
        UpdateModel,
        PromoteModel,
        RollbackModel,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How a pipeline stands when a command is answered."""

    state: Literal["starting", "running", "paused", "failed", "ended", "stopped"]
    deadline_ms: float
    threshold: float | None
    """Null where its decoder has none."""
    overrides: dict[str, float]
    """Which of them a command has set, and to what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """What became of a request; where it named no response topic, on the topic given here.

    `BASE/DEVICE/command/NAME/answer`. NAME is `unknown` where there is no such command.
    """

    topic_name: ClassVar[str] = "answer"

    command: str
    id: str | None
    """The request's, if it could be read."""
    at: str
    clock_synced: bool
    done: bool
    """False when it was refused, or failed."""
    message: str
    """One sentence for a person."""
    pipelines: dict[str, Reached]
    """Of the pipeline that was named; of all, where none was."""
    picture: str | None
    """The topic that a snapshot went to."""
    files: list[str]
    """The trace files that `dump` wrote, on the device."""

    def topic(self, base_topic: str) -> str:
        """Return the topic for who named none."""
        return f"{base_topic}/{self.device}/command/{self.command}/{self.topic_name}"


def picture_topic(base_topic: str, device: str, pipeline: str) -> str:
    """Return the topic of a pipeline's snapshots: each payload is a JPEG, none is retained."""
    return f"{base_topic}/{device}/{pipeline}/snapshot"
