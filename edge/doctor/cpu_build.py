"""Whether a model can run on the CPU while its accelerator cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.engines.model_file import cpu_build_beside, read_model_file
from edge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.config.model import Model
    from edge.config.problems import Place
    from edge.engines.model_summary import TensorSummary


def cpu_build_problems(model: Model) -> Iterator[tuple[Place, str]]:
    """Find what keeps a model from falling back to the CPU; places are within a pipeline."""
    if model.accelerator is None or model.fallback == "none":
        return
    try:
        build = read_model_file(model.path)
    except ModelError:
        return  # told where it is tried
    if model.cpu_path is None:
        if build.edgetpu:
            text = f"is missing: {model.path} is compiled for the Edge TPU and cannot run on the "
            text += f"CPU; name {cpu_build_beside(model.path)}, or write `fallback: none`"
            yield ("model", "cpu_path"), text
        return
    try:
        on_cpu = read_model_file(model.cpu_path)
    except ModelError as error:
        yield ("model", "cpu_path"), str(error)
        return
    if on_cpu.edgetpu:
        text = f"{model.cpu_path}: is compiled for the Edge TPU and cannot run on the CPU"
        yield ("model", "cpu_path"), text
    for kind, theirs, ours in (
        ("input", on_cpu.inputs, build.inputs),
        ("output", on_cpu.outputs, build.outputs),
    ):
        if _shapes(theirs) != _shapes(ours):
            text = f"{model.cpu_path}: its {kind} is {_named(theirs)}, that of {model.path} "
            text += f"{_named(ours)}: name a build of the same model"
            yield ("model", "cpu_path"), text


def _shapes(tensors: Sequence[TensorSummary]) -> list[tuple[str, tuple[int, ...]]]:
    return [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]


def _named(tensors: Sequence[TensorSummary]) -> str:
    return ", ".join(f"{tensor.dtype} {list(tensor.shape)}" for tensor in tensors) or "none"
