"""Makes a golden file: inputs from real pictures, the answers of every engine that is installed.

`main` is a process of its own, for a model may take it along: started as `python -c BOOTSTRAP
MODEL OPTIONS ENGINES FILE` by `edge.supervisor.trial`, it prints one JSON object.
"""

from __future__ import annotations

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
    MOST_VECTORS,
    Golden,
    Origin,
    farthest_apart,
    run_golden_input,
    write_golden,
)
from edge.engines.model_file import read_model_file
from edge.errors import ConfigError, EdgeError, ModelError
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    vectors: int
    size_bytes: int
    engines: list[str]
    """Those whose answers are in the file, with their versions."""
    left_out: list[str]
    """Why others are not, a sentence each."""
    apart_steps: float
    """How far the answers of two engines are apart, at most; 0 where there is one."""


def make(options: Pipeline, engines: list[str], path: Path) -> Made:
    """Run a pipeline's pictures through its model in each of the engines; write the golden file.

    Raises ModelError or EngineError when no engine runs the model, FrameError when a picture
    cannot be its input, ConfigError when there are too many.
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
    inputs = _inputs(options, first.inputs[0])
    answers = [_answers(engine, inputs) for engine in answering.values()]
    golden = Golden(
        inputs,
        [np.stack(of_each) for of_each in zip(*answers, strict=True)],
        Origin(model=model.path.name, digest=summary.sha256, engines=list(answering)),
    )
    write_golden(golden, path)
    return Made(
        vectors=len(inputs),
        size_bytes=path.stat().st_size,
        engines=list(answering),
        left_out=[str(trouble) for trouble in troubles],
        apart_steps=round(farthest_apart(golden, first.outputs), 3),
    )


def _inputs(options: Pipeline, spec: TensorSpec) -> NDArray[Any]:
    """Return the model's input for each picture: [vectors, *input shape]."""
    preprocess = Preprocessor(options.model, spec)
    (source,) = [one.make() for one in options.all_sources.values()]
    source.open()
    never = threading.Event()
    tensors = []
    while source.grab(never) is not None:
        tensor = preprocess.buffer()
        preprocess(source.retrieve(), tensor)
        tensors.append(tensor)
        if len(tensors) > MOST_VECTORS:
            raise ConfigError(f"at most {MOST_VECTORS} inputs: they are run at every start")
    return np.stack(tensors)


def _answers(engine: Engine, inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """Return an engine's answers, one array an output: [vectors, *output shape]."""
    outputs = [run_golden_input(engine, tensor) for tensor in inputs]
    return [np.stack(of_all) for of_all in zip(*outputs, strict=True)]


def main() -> None:
    """Make what the command line names, and print what was made."""
    options = Pipeline.model_validate_json(sys.argv[2])
    engines = sys.argv[3].split(",") if sys.argv[3] else list(installed()) or ["auto"]
    try:
        answer: dict[str, Any] = asdict(make(options, engines, Path(sys.argv[4])))
    except EdgeError as error:
        answer = {"failed": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - its one word to who started it
