"""Opens what `edge optimize quantize` starts from: .keras, SavedModel or a float .tflite file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edge.engines.model_file import read_model_file
from edge.errors import ConfigError, ModelError
from edge.supervisor.trial import ask
from edge.workshop.convert import Mode, TensorType, convert, spanning, to_tflite
from edge.workshop.framework import quiet, tensorflow
from edge.workshop.from_tflite import quantize_tflite, refuse_quantized
from edge.workshop.network import SUFFIXES, load_network

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A trained model in float, ready to be converted."""

    path: Path
    kind: Literal["keras", "savedmodel", "tflite"]
    shape: tuple[int, ...]
    """Of one input sample, without the batch."""
    sha256: str
    """Of the file; of a SavedModel that of `sha256sum`'s lines, sorted by path."""
    layers: tuple[str, ...] = ()
    """The names of a Keras network's layers."""
    _opened: Any = field(default=None, repr=False)

    def as_float(self) -> bytes:
        """Return it as a float .tflite: itself, or what TensorFlow's converter makes of it."""
        return self._converted("float", None)

    def quantized(
        self,
        mode: Mode,
        samples: NDArray[np.float32],
        *,
        input_type: TensorType | None,
        output_type: TensorType | None,
        per_channel: bool,
        pixel_range: tuple[float, float] | None,
    ) -> bytes:
        """Return it quantized, calibrated on samples, [n, *shape].

        `pixel_range` is what pixels 0 and 255 become, where the samples are pictures: the input's
        range then. Raises ConfigError and ModelError as the converters do.
        """
        options: dict[str, Any] = {"input_type": input_type, "output_type": output_type}
        options["per_channel"] = per_channel
        if self.kind == "tflite":
            return quantize_tflite(self._opened, mode, samples, input_range=pixel_range, **options)
        if pixel_range is not None:
            samples = spanning(samples, pixel_range)
        return self._converted(mode, samples, **options)

    def _converted(self, mode: Mode, samples: NDArray[np.float32] | None, **options: Any) -> bytes:
        if self.kind == "tflite":
            return bytes(self._opened)
        if self.kind == "keras":
            return to_tflite(self._opened, mode, samples, **options)
        tf = tensorflow()
        function = _of_one(self._opened, self.shape)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], self._opened)
        return convert(converter, mode, samples, **options)


def open_model(path: Path) -> FloatModel:
    """Open a float model.

    Raises ConfigError where it is none of the three kinds, ModelError where it is damaged, holds
    Python code, is quantized already, or takes more than one input.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _saved_model(path)
    if path.suffix in SUFFIXES:
        network = load_network(path)
        layers = tuple(layer.name for layer in network.layers)
        shape = tuple(network.inputs[0].shape[1:])
        return FloatModel(path, "keras", shape, _sha256(path), layers, network)
    if path.suffix != ".tflite":
        raise ConfigError(f"{path}: name a .keras file, a SavedModel's folder or a .tflite file")
    return _tflite(path)


def _tflite(path: Path) -> FloatModel:
    summary = read_model_file(path)
    if summary.edgetpu:
        raise ModelError(
            f"{path}: is compiled for the Edge TPU, and so quantized already: name the float model "
            "that it was made from"
        )
    # In a process of its own, before it is let in here: a file may take its interpreter along.
    ask("edge.engines.loading", path, "litert", "1")
    content = path.read_bytes()
    refuse_quantized(content, str(path))
    if len(summary.inputs) != 1:
        raise ModelError(
            f"{path}: takes {len(summary.inputs)} inputs; only models with one can be run"
        )
    (given,) = summary.inputs
    if given.dtype != "float32" or given.shape[:1] != (1,):
        raise ModelError(
            f"{path}: its input is {given.dtype} {list(given.shape)}; a float model takes one "
            "sample of float32: [1, ...]"
        )
    return FloatModel(path, "tflite", given.shape[1:], summary.sha256, (), content)


def _saved_model(path: Path) -> FloatModel:
    if not (path / SAVED_MODEL).is_file():
        raise ConfigError(f"{path}: is no SavedModel: a folder that holds {SAVED_MODEL}")
    tf = tensorflow()
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
        signature = _signature(loaded)
    except Exception as error:  # damage has many names
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: cannot be opened by TensorFlow: {reason}") from error
    if signature is None:
        raise ModelError(f"{path}: has no signature `serving_default` or `serve`: export it anew")
    inputs = list(signature.structured_input_signature[1].values())
    if len(inputs) != 1 or inputs[0].shape.rank is None or None in inputs[0].shape[1:]:
        raise ModelError(f"{path}: must take one input of a fixed size, not {inputs}")
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{_sha256(file)}  {file.relative_to(path)}\n".encode())
    shape = tuple(inputs[0].shape[1:])
    return FloatModel(path, "savedmodel", shape, digest.hexdigest(), (), loaded)


def _signature(loaded: Any) -> Any:
    return next(
        (
            loaded.signatures[key]
            for key in ("serving_default", "serve")
            if key in loaded.signatures
        ),
        None,
    )


def _of_one(loaded: Any, shape: tuple[int, ...]) -> Any:
    """Return the signature as a function of one sample: an open batch would be worked out late."""
    tf = tensorflow()
    signature = _signature(loaded)
    (name,) = signature.structured_input_signature[1]
    spec = tf.TensorSpec((1, *shape), tf.float32, name=name)
    return tf.function(lambda sample: signature(**{name: sample})).get_concrete_function(spec)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
