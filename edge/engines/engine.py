"""The loaded interpreter: one input in, a forward pass, the outputs out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edge.engines.delegates import (
    MODULES,
    explained,
    load_delegate,
    taken_by_delegate,
)
from edge.engines.model_file import explain_load_failure
from edge.errors import EngineError, ModelError
from edge.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge.accelerators.base import AcceleratorOptions, Step
    from edge.engines.choose import Choice
    from edge.engines.delegation import Delegation


class Engine:
    """An interpreter with its model loaded and its memory planned."""

    def __init__(
        self,
        path: Path,
        choice: Choice,
        *,
        threads: int,
        accelerator: AcceleratorOptions | None = None,
        reached: Callable[[Step], None] = lambda _step: None,
    ) -> None:
        """Load the model; `reached` hears of each step before it is taken.

        Raises ModelError, saying what is wrong with the file or fit, and AcceleratorError where
        the accelerator cannot be had or refuses the model.
        """
        self.delegated: Delegation | None = None
        """Which of the model's operators the accelerator runs, where the engine tells."""
        reached("engine")
        interpreter_of = interpreter_class(choice.name)
        more: dict[str, Any] = {}
        if accelerator is not None:
            more["experimental_delegates"] = [load_delegate(choice.name, accelerator, reached)]
            reached("model")
        try:
            self._interpreter = interpreter_of(model_path=str(path), num_threads=threads, **more)
            if accelerator is not None:
                self.delegated = taken_by_delegate(self._interpreter)
            self._interpreter.allocate_tensors()
        # An interpreter raises whatever its C++ does: RuntimeError, ValueError, even
        # UnicodeDecodeError while reading its own error message.
        except Exception as error:
            if accelerator is not None:
                raise explained(accelerator, "model", choice.name, error) from error
            raise ModelError(explain_load_failure(path, str(error))) from error
        self.path, self.choice, self.threads = path, choice, threads
        self.accelerator = accelerator
        if accelerator is not None and self.delegated is not None and not self.delegated.groups:
            raise explained(accelerator, "model", choice.name, None, "takes_nothing")
        self._read_specs()
        if len(self.inputs) != 1:
            raise ModelError(
                f"{path}: takes {len(self.inputs)} inputs ({', '.join(map(str, self.inputs))}); "
                "only models with one input can be run"
            )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = [d["index"] for d in self._interpreter.get_output_details()]

    def _read_specs(self) -> None:
        self.inputs = [tensor_spec(details) for details in self._interpreter.get_input_details()]
        self.outputs = [tensor_spec(details) for details in self._interpreter.get_output_details()]

    def resize_batch(self, size: int) -> None:
        """Give the input's first extent, and whatever follows from it, this size.

        Raises ModelError when the model's graph does not allow it; then the engine is spoilt.
        """
        try:
            self._interpreter.resize_tensor_input(self._input, [size, *self.inputs[0].shape[1:]])
            self._interpreter.allocate_tensors()
        except Exception as error:  # as above
            raise ModelError(
                f"{self.path}: its graph cannot be resized to {size} frames "
                f"({self.choice.name} says: {_line(error)})"
            ) from error
        self._read_specs()

    def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the forward pass on a tensor of the input's shape and dtype.

        Returns copies of the output tensors, still quantized. Raises ModelError when the
        model itself fails, AcceleratorError when what it runs on does.
        """
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, tensor)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            if self.accelerator is not None:
                raise explained(self.accelerator, "invoke", self.choice.name, error) from error
            raise ModelError(f"{self.path}: the forward pass failed: {_line(error)}") from error
        return [interpreter.get_tensor(index) for index in self._output]


def interpreter_class(name: str) -> Any:
    """Import an engine, by its name in the YAML. Raises EngineError when it cannot be loaded."""
    try:
        return importlib.import_module(MODULES[name]).Interpreter
    except ImportError as error:
        hint = "; tflite-runtime needs numpy < 2" if name == "tflite-runtime" else ""
        raise EngineError(
            f"the engine {name} is installed but cannot be loaded: {_line(error)}{hint}"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def tensor_spec(details: dict[str, Any]) -> TensorSpec:
    """Return an entry of `get_input_details` or `get_output_details` as ours."""
    scale, zero_point = details["quantization"]
    return TensorSpec(
        name=str(details["name"]),
        shape=tuple(int(extent) for extent in details["shape"]),
        dtype=str(details["dtype"].__name__),
        scale=float(scale),
        zero_point=int(zero_point),
    )
