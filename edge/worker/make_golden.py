"""Makes a golden file: inputs from real pictures, the answers of every engine that is installed.

`main` is a process of its own, for a model may take it along: started as `python -c BOOTSTRAP
MODEL OPTIONS ENGINE KEEP FILE` by `edge.supervisor.trial`, it prints one JSON object. Without
options it adds answers to the file that is there.
"""

from __future__ import annotations

import heapq
import json
import platform
import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.config.pipeline import Pipeline
from edge.engines.choose import choose, installed
from edge.engines.engine import Engine
from edge.engines.golden import (
    Golden,
    Origin,
    farthest_apart,
    read_golden,
    run_golden_input,
    write_golden,
)
from edge.engines.model_file import read_model_file
from edge.errors import EdgeError, ModelError
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge.engines.choose import Choice


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    vectors: int
    offered: int
    """How many inputs there were to choose from."""
    size_bytes: int
    engines: list[str]
    """Those whose answers are in the file, with their versions and machines."""
    left_out: list[str]
    """Why others are not, a sentence each."""
    apart_steps: float
    """How far two of the answers are apart, at most; 0 where there is one."""


def make(options: Pipeline, engines: Iterable[str], path: Path, *, keep: int) -> Made:
    """Run a pipeline's pictures through its model in each of the engines; write the golden file.

    Of more inputs than `keep` those are taken whose answers say most; of a model that keeps state
    the first, for they are one sequence. Raises ModelError or EngineError when no engine runs the
    model, FrameError when a picture cannot be its input, GoldenFileError when it cannot be written.
    """
    model = options.model.path
    summary = read_model_file(model)
    answering = _Answering(model, engines)
    inputs, offered = _inputs(options, answering.fresh(), keep=keep, in_order=summary.keeps_state)
    origin = Origin(model=model.name, digest=summary.sha256, engines=[])
    shapes = [(0, len(inputs), *spec.shape) for spec in answering.outputs]
    kinds = [spec.dtype for spec in answering.outputs]
    empty = [np.empty(shape, kind) for shape, kind in zip(shapes, kinds, strict=True)]
    return answering.add_to(Golden(inputs, empty, origin), path, offered)


def make_more(model: Path, engines: Iterable[str], path: Path) -> Made:
    """Add the answers that the engines give on this machine to a golden file.

    Raises GoldenFileError where it cannot be read or written, and else as `make`.
    """
    summary = read_model_file(model)
    answering = _Answering(model, engines)
    golden = read_golden(path, answering.fresh().inputs[0], answering.outputs)
    if golden.origin is None:
        unknown = [f"unknown {number}" for number in range(1, len(golden.answers[0]) + 1)]
        origin = Origin(model=model.name, digest=summary.sha256, engines=unknown)
        golden = replace(golden, origin=origin)
    return answering.add_to(golden, path, len(golden.inputs))


class _Answering:
    """The engines that can run a model here."""

    def __init__(self, model: Path, engines: Iterable[str]) -> None:
        self._model = model
        self._choices: list[Choice] = []
        troubles: list[ModelError] = []
        for name in engines:
            choice = choose(name, 1)
            try:
                self.outputs = Engine(model, choice, threads=1).outputs
            except ModelError as error:
                troubles.append(error)
            else:
                self._choices.append(choice)
        if not self._choices:
            raise troubles[0]
        self._left_out = [str(trouble) for trouble in troubles]

    def fresh(self, choice: Choice | None = None) -> Engine:
        """Return an engine, the first if none is chosen, that has run nothing."""
        return Engine(self._model, choice or self._choices[0], threads=1)

    def add_to(self, golden: Golden, path: Path, offered: int) -> Made:
        """Write a golden with the answers of each engine added, but for those it has already."""
        answers, names = golden.answers, list(golden.origin.engines if golden.origin else [])
        for choice in self._choices:
            found = _answers(self.fresh(choice), golden.inputs)
            if any(_same(found, answers, number) for number in range(len(answers[0]))):
                continue
            names.append(f"{choice.name} {choice.version} on {platform.machine()}")
            answers = [
                np.concatenate([had, new[np.newaxis]])
                for had, new in zip(answers, found, strict=True)
            ]
        origin = golden.origin and golden.origin.model_copy(update={"engines": names})
        golden = Golden(golden.inputs, answers, origin)
        write_golden(golden, path)
        return Made(
            vectors=len(golden.inputs),
            offered=offered,
            size_bytes=path.stat().st_size,
            engines=names,
            left_out=self._left_out,
            apart_steps=round(farthest_apart(golden, self.outputs), 3),
        )


def _same(found: list[NDArray[Any]], answers: list[NDArray[Any]], number: int) -> bool:
    """Whether one of the answers is what an engine has found."""
    return all(
        new.tobytes() == had[number].tobytes() for new, had in zip(found, answers, strict=True)
    )


def _inputs(
    options: Pipeline, engine: Engine, *, keep: int, in_order: bool
) -> tuple[NDArray[Any], int]:
    """Return the inputs to keep, [vectors, *input shape], in their order, and how many there are.

    An answer that holds few values other than its commonest, as a sure softmax does, hides most
    faults: the inputs whose answers hold the most are kept.
    """
    preprocess = Preprocessor(options.model, engine.inputs[0])
    (source,) = [one.make() for one in options.all_sources.values()]
    source.open()
    never = threading.Event()
    kept: list[tuple[int, int, NDArray[Any]]] = []
    offered = 0
    while source.grab(never) is not None:
        tensor = preprocess.buffer()
        preprocess(source.retrieve(), tensor)
        telling = 0 if in_order else _telling(run_golden_input(engine, tensor))
        # No two have the same number, so tensors are never compared.
        heapq.heappush(kept, (telling, -offered, tensor))
        if len(kept) > keep:
            heapq.heappop(kept)
        offered += 1
    kept.sort(key=lambda one: -one[1])
    return np.stack([tensor for _, _, tensor in kept]), offered


def _telling(outputs: list[NDArray[Any]]) -> int:
    """Return how many values of an answer are not its output's commonest one."""
    total = 0
    for output in outputs:
        counts: NDArray[Any] = np.unique(output, return_counts=True)[1]
        total += output.size - int(np.max(counts, initial=0))
    return total


def _answers(engine: Engine, inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """Return an engine's answers, one array an output: [vectors, *output shape]."""
    outputs = [run_golden_input(engine, tensor) for tensor in inputs]
    return [np.stack(of_all) for of_all in zip(*outputs, strict=True)]


def main() -> None:
    """Make what the command line names, and print what was made."""
    model, options, engine, keep, path = sys.argv[1:]
    engines = [engine] if engine else list(installed()) or ["auto"]
    try:
        if options:
            pipeline = Pipeline.model_validate_json(options)
            made = make(pipeline, engines, Path(path), keep=int(keep))
        else:
            made = make_more(Path(model), engines, Path(path))
        answer: dict[str, Any] = asdict(made)
    except EdgeError as error:
        answer = {"failed": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - its one word to who started it
