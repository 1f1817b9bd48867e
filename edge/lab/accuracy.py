"""How often a model is right on labelled pictures, through the same pipeline as `edge infer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge.config.labels import read_labels
from edge.config.pipeline import Pipeline
from edge.errors import ConfigError
from edge.lab.report import Accuracy
from edge.supervisor.trial import records
from edge.wire import Done, Note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """A folder of pictures with their truth, and how they become a model's input."""

    folder: Path
    truth: Literal["folder", "name"]
    labels: Path | None
    """Names of the classes; without it the truth is a class's index."""
    resize: str
    interpolation: str


def accuracy(
    model: Path, pictures: LabelledPictures, engine: str, on_picture: Callable[[], None]
) -> Accuracy:
    """Run a classifier over all pictures; count how often its best class is the true one.

    Raises ConfigError where no picture's truth is a label, and what makes the model fail.
    """
    options = Pipeline.model_validate(
        {
            "source": {"type": "images", "path": pictures.folder, "truth": pictures.truth},
            "model": {
                "path": model,
                "labels": pictures.labels,
                "engine": engine,
                "resize": pictures.resize,
                "interpolation": pictures.interpolation,
            },
            "decode": {"type": "classification", "top_k": 1, "threshold": -1e30},
        }
    )
    known = set(read_labels(pictures.labels))
    right = answered = unreadable = 0
    for record in records("bench", options):
        if isinstance(record, Done):
            if not (record.truth in known if known else str(record.truth).isdecimal()):
                raise ConfigError(f"{record.name}: {_no_label(record.truth, pictures)}")
            answered += 1
            right += any(found["label"] == record.truth for found in record.predictions)
            on_picture()
        elif isinstance(record, Note) and record.event == "frame_failed":
            unreadable += 1
            on_picture()
    if not answered:
        raise ConfigError(f"{pictures.folder}: none of its pictures can be read")
    return Accuracy(right=right, pictures=answered, unreadable=unreadable)


def _no_label(truth: str | None, pictures: LabelledPictures) -> str:
    if pictures.labels is not None:
        return f"its true label by --truth {pictures.truth}, {truth!r}, is not in {pictures.labels}"
    return (
        f"its true label by --truth {pictures.truth}, {truth!r}, is no class's index; name the "
        "classes with --labels"
    )
