"""Who takes part, and in what setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.config.model import Model
from peers.children import PEERS_PYTHON, Child, LeftOutError, litert_tool
from peers.ours import Ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers.turn import Turn


@dataclass(frozen=True)
class Setting:
    """What is the same for all peers of a table."""

    model: Path
    feed: str
    frames: Path
    """The folder with a folder for each feed."""
    fps: float | None
    """None is as fast as possible."""
    seconds: float
    port: int
    """The broker's, on 127.0.0.1."""


DEFAULT = str(Model.model_fields["interpolation"].default)
PEERS: dict[str, Callable[[Setting], Turn]] = {
    "bare": Child("bare.py"),
    "naive": Child("naive.py", topic="naive/predictions"),
    "mediapipe": Child("image_classifier.py", python=PEERS_PYTHON),
    "litert": litert_tool,
    "ours": Ours(),
}
NAMES = {
    "bare": "bare `invoke()`",
    "naive": "naive script",
    "mediapipe": "MediaPipe ImageClassifier",
    "litert": "`benchmark_litert_model`",
    "ours": f"ours, `{DEFAULT}` (the default)",
}
OURS = ["ours"]
if DEFAULT != "linear":  # the naive script's cv2.resize takes linear
    PEERS["linear"] = Ours("linear")
    NAMES["linear"] = "ours, `linear`"
    OURS.append("linear")


def takes_part(peer: str, setting: Setting) -> bool:
    """LiteRT's own tool takes neither frames nor a pace, so it has one table to stand in."""
    return peer != "litert" or (setting.fps is None and setting.feed == "memory")


def take_turn(peer: str, setting: Setting) -> Turn:
    """Let one peer have its turn. Raises LeftOutError when it cannot take part."""
    turn = PEERS[peer](setting)
    if not turn.throughput:
        raise LeftOutError("it answered no frame")
    return turn
