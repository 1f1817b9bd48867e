"""The digits as they are, and another build of them, for what changes a pipeline's model."""

from __future__ import annotations

import itertools
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config.pipeline import Pipeline
from edge.supervisor.model_watch import NobodyWatches

if TYPE_CHECKING:
    from edge.messages import Result
    from edge.wire import Ready

DIGITS = Path(__file__).parents[2] / "models/digits"
SHEET = {"type": "images", "path": DIGITS / "held-out.png", "tile": 8}
LIVE = {**SHEET, "fps": 60, "loop": True}
TELLING_BYTE = 5442  # of a bias: its highest bit moves a third of the answers


def other_build(folder: Path) -> Path:
    """Return another build of the digits: one bit of one bias is turned over."""
    data = bytearray((DIGITS / "digits.tflite").read_bytes())
    data[TELLING_BYTE] ^= 0x80
    path = folder / "other.tflite"
    path.write_bytes(data)
    return path


def options(
    source: dict[str, Any], model: Path = DIGITS / "digits.tflite", **fields: Any
) -> Pipeline:
    """Return a pipeline over a source, or over the `sources` among the fields."""
    sources = fields if "sources" in fields else {"source": source, **fields}
    return Pipeline.model_validate({"model": {"path": model}, "deadline_ms": 10_000, **sources})


def digest_of(model: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return sha256(model.read_bytes()).hexdigest()


OWN = digest_of(DIGITS / "digits.tflite")
"""Of the digits as they are."""


def models_of(results: list[Result]) -> list[str]:
    """Return which models answered, in their order, each once for every stretch of frames."""
    return [digest for digest, _ in itertools.groupby(r.model_digest for r in results)]


class Watch(NobodyWatches):
    """Keeps what it is told."""

    def __init__(self, *starts: Pipeline | None) -> None:
        self.starts = list(starts)
        self.heard: list[str] = []
        self.frames = 0

    def starting(self) -> Pipeline | None:
        return self.starts.pop(0) if self.starts else None

    def ready(self, ready: Ready) -> None:
        self.heard.append(f"ready {ready.digest}")

    def died(self, how: str) -> None:
        self.heard.append(f"died {how}")

    def failed(self, message: str) -> None:
        self.heard.append(f"failed {message}")

    def judged(self, missed: bool) -> None:
        assert not missed
        self.frames += 1

    def shadow_lost(self, why: str) -> None:
        self.heard.append(f"shadow lost {why}")
