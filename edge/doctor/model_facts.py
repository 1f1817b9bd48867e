"""What a configuration has to say of a model: which decoder, which labels, which frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.config.labels import read_labels
from edge.decoders.centroids import CentroidsOptions
from edge.decoders.classification import ClassificationOptions
from edge.decoders.raw import RawOptions
from edge.engines.model_file import read_model_file
from edge.errors import ConfigError, DecodeError, ModelError
from edge.tensors import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

    from edge.decoders.base import DecoderOptions
    from edge.engines.model_summary import ModelSummary, TensorSummary

EDGETPU_SUFFIX = "_edgetpu"  # what Google's compiler adds to a file's name
LARGEST_LABELS = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model, and what goes with it."""

    path: Path
    outputs: str
    """In words: `uint8 [1, 1001]`."""
    decoder: DecoderOptions
    takes_pictures: bool
    square: bool
    """Whether its input is as wide as high, which most cameras are not."""
    labels: Path | None
    """A file beside it that names its classes."""
    edgetpu: bool
    """Whether it is compiled for the Edge TPU."""
    cpu_build: Path | None
    """The same model for the CPU, where it lies beside one compiled for the Edge TPU."""


def model_facts(path: Path) -> ModelFacts:
    """Read a model file. Raises ModelError, DecodeError."""
    summary = read_model_file(path)
    outputs = [_spec(each) for each in summary.outputs]
    decoder = _decoder(summary, outputs)
    shape = summary.inputs[0].shape if summary.inputs else ()
    pictures = len(shape) == 4 and shape[0] == 1 and shape[3] in {1, 3}  # noqa: PLR2004
    classes = outputs[0].shape[-1] if decoder.type != "raw" else 0
    lines = {classes, classes - 1} if decoder.type == "centroids" else {classes}
    return ModelFacts(
        path=path,
        outputs=", ".join(map(str, outputs)),
        decoder=decoder,
        takes_pictures=pictures,
        square=pictures and shape[1] == shape[2],
        labels=_labels(path, lines) if classes else None,
        edgetpu=summary.edgetpu,
        cpu_build=_cpu_build(path) if summary.edgetpu else None,
    )


def _decoder(summary: ModelSummary, outputs: list[TensorSpec]) -> DecoderOptions:
    """Return the decoder that takes these outputs, the one that tells most first.

    What has the input's own shape is made to be like the input, and says nothing of classes.
    """
    like_the_input = [each.shape for each in outputs] == [each.shape for each in summary.inputs]
    single = all(each.shape[-1:] in {(), (1,)} for each in outputs)
    if not like_the_input and not single:
        classification = ClassificationOptions(type="classification", top_k=3)
        try:
            classification.make(outputs, [])
        except DecodeError:
            pass
        else:
            return classification
    if _is_grid_of_scores(summary, outputs):
        return CentroidsOptions(type="centroids")
    raw = RawOptions(type="raw")
    try:
        raw.make(outputs, [])
    except DecodeError as error:
        raise DecodeError(
            f"{summary.path}: there is no decoder here for its outputs "
            f"({', '.join(map(str, outputs))}): {error}"
        ) from error
    return raw


def _is_grid_of_scores(summary: ModelSummary, outputs: list[TensorSpec]) -> bool:
    """Whether the output is a softmax for each part of a picture, as FOMO models have it.

    A softmax is quantized by 1/256 from its least value on. A map of classes as fine as a
    segmentation's, a cell for less than 4x4 pixels, is none of them.
    """
    if len(outputs) != 1 or len(outputs[0].shape) != 4 or len(summary.inputs) != 1:  # noqa: PLR2004
        return False
    (_, rows, columns, classes), picture = outputs[0].shape, summary.inputs[0].shape
    fits = len(picture) == 4 and rows * 4 <= picture[1] and columns * 4 <= picture[2]  # noqa: PLR2004
    softmax = (outputs[0].scale, outputs[0].zero_point) in {(1 / 256, -128), (1 / 256, 0)}
    return fits and softmax and classes > 1 and rows * columns > 1


def _spec(tensor: TensorSummary) -> TensorSpec:
    scale = tensor.scales[0] if len(tensor.scales) == 1 else 0.0
    zero_point = tensor.zero_points[0] if len(tensor.zero_points) == 1 else 0
    return TensorSpec(tensor.name, tensor.shape, tensor.dtype, scale, zero_point)


def _labels(model: Path, lines: set[int]) -> Path | None:
    """Return the text file beside the model that has so many lines; the likeliest first."""
    stem = model.stem.removesuffix(EDGETPU_SUFFIX)
    likely = [
        f"{stem}.txt",
        f"{stem}_labels.txt",
        f"{stem}-labels.txt",
        "labels.txt",
        "labelmap.txt",
    ]
    others = sorted(path.name for path in model.parent.glob("*label*.txt"))
    for name in dict.fromkeys([*likely, *others]):
        path = model.with_name(name)
        try:
            if not path.is_file() or path.stat().st_size > LARGEST_LABELS:
                continue
            if len(read_labels(path)) in lines:
                return path
        except (ConfigError, OSError):
            continue
    return None


def _cpu_build(model: Path) -> Path | None:
    """Return the model that one for the Edge TPU was compiled from, where it lies beside it."""
    path = model.with_name(model.name.replace(EDGETPU_SUFFIX, ""))
    if path == model or not path.is_file():
        return None
    try:
        return None if read_model_file(path).edgetpu else path
    except ModelError:
        return None
