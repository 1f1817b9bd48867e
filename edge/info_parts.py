"""Parts of the info message: what a pipeline's model runs on."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The model a pipeline runs, as its engine sees it."""

    file: str
    digest: str
    """SHA-256 of the file, in hex."""
    size_bytes: int
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenInfo:
    """The golden self-test that a model passed before its first frame."""

    vectors: int
    """Inputs that were run."""
    worst_steps: float
    """How far the worst value was from what the golden file says, in quantization steps."""
    ms: float
    """Reading the file, running and comparing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The interpreter a pipeline runs on."""

    name: str
    version: str
    reason: str
    """Why this one was chosen."""
    threads: int
    init_ms: float
    """Loading the model and planning its memory."""
    first_invoke_ms: float
    """The first forward pass, cold unless golden inputs were run; it is in no other figure."""
    warm_up_frames: int
    """Forward passes before the first frame; they are in no other figure."""
    batch: int
    """How many frames can share a forward pass; 1 also where the model cannot be resized."""
    golden: GoldenInfo | None
    """Null where the model has no golden file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorInfo:
    """What runs a model instead of the CPU, or would."""

    name: str
    in_use: bool
    """Whether it runs the model; if not, the CPU does, or nothing yet."""
    fallback: Literal["cpu", "none"]
    cause: str | None
    """Why it is not used, in one word: `no_device`, `crashed`, …; null where it is."""
    trouble: str | None
    """The same as a sentence, with what to do."""
