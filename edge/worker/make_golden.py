"""Makes a golden file: inputs from real pictures, the answers of every engine that is installed.

`main` is a process of its own, for a model may take it along: started as `python -c BOOTSTRAP
MODEL OPTIONS ENGINE KEEP FILE` by `edge.supervisor.trial`, it prints one JSON object.
"""

from __future__ import annotations

import heapq
import json
import sys
import threading
from dataclasses import asdict, dataclass
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
    run_golden_input,
    write_golden,
)
from edge.engines.model_file import read_model_file
from edge.errors import EdgeError, ModelError
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    vectors: int
    offered: int
    """How many inputs there were to choose from."""
    size_bytes: int
    engines: list[str]
    """Those whose answers are in the file, with their versions."""
    left_out: list[str]
    """Why others are not, a sentence each."""
    apart_steps: float
    """How far the answers of two engines are apart, at most; 0 where there is one."""


def make(options: Pipeline, engines: list[str], path: Path, *, keep: int) -> Made:
    """Run a pipeline's pictures through its model in each of the engines; write the golden file.

    Of more inputs than `keep` those are taken whose answers say most; of a model that keeps state
    the first, for they are one sequence. Raises ModelError or EngineError when no engine runs the
    model, FrameError when a picture cannot be its input, GoldenFileError when it cannot be written.
    """
    model = options.model
    summary = read_model_file(model.path)
    answering: dict[str, Engine] = {}
    troubles: list[EdgeError] = []
    for name in engines:
        choice = choose(name, 1)
        try:
            engine = Engine(model.path, choice, threads=1)
        except ModelError as error:
            troubles.append(error)
        else:
            answering[f"{choice.name} {choice.version}"] = engine
    if not answering:
        raise troubles[0]
    first = next(iter(answering.values()))
    inputs, offered = _inputs(options, first, keep=keep, in_order=summary.keeps_state)
    if summary.keeps_state:  # the first has run them already
        first = Engine(model.path, first.choice, threads=1)
    answers = [_answers(engine, inputs) for engine in (first, *[*answering.values()][1:])]
    golden = Golden(
        inputs,
        [np.stack(of_each) for of_each in zip(*answers, strict=True)],
        Origin(model=model.path.name, digest=summary.sha256, engines=list(answering)),
    )
    write_golden(golden, path)
    return Made(
        vectors=len(inputs),
        offered=offered,
        size_bytes=path.stat().st_size,
        engines=list(answering),
        left_out=[str(trouble) for trouble in troubles],
        apart_steps=round(farthest_apart(golden, first.outputs), 3),
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
    counts = [np.unique(output, return_counts=True)[1] for output in outputs]
    return sum(int(count.sum() - count.max()) for count in counts if count.size)


def _answers(engine: Engine, inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """Return an engine's answers, one array an output: [vectors, *output shape]."""
    outputs = [run_golden_input(engine, tensor) for tensor in inputs]
    return [np.stack(of_all) for of_all in zip(*outputs, strict=True)]


def main() -> None:
    """Make what the command line names, and print what was made."""
    options = Pipeline.model_validate_json(sys.argv[2])
    engines = [sys.argv[3]] if sys.argv[3] else list(installed()) or ["auto"]
    keep, path = int(sys.argv[4]), Path(sys.argv[5])
    try:
        answer: dict[str, Any] = asdict(make(options, engines, path, keep=keep))
    except EdgeError as error:
        answer = {"failed": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - its one word to who started it
