"""Loads the engine of a pipeline, and has it prove itself where its model has golden answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.engines.choose import Choice, installed
from edge.engines.engine import Engine
from edge.errors import EdgeError, GoldenError

if TYPE_CHECKING:
    from edge.config.model import Model
    from edge.engines.model_summary import ModelSummary


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine with its model loaded, before its first frame."""

    engine: Engine
    init_ms: float
    """From opening the file until memory is planned."""
    golden: dict[str, float] | None = None
    """What the golden self-test found; None where there is none to pass."""
    refusals: tuple[str, ...] = ()
    """Why it is not the engine that was chosen."""


def load_engine(model: Model, choice: Choice, summary: ModelSummary) -> LoadedEngine:
    """Load the model; where it has golden answers, compare.

    With `engine: auto` on the CPU an engine that fails makes way for the other one. Raises as
    `Engine` does, GoldenError where no engine that may run the model gives the right answers,
    and GoldenFileError where the golden file cannot be used.
    """
    try:
        return _load(model, choice, summary)
    except GoldenError as error:
        other = _other(model, choice)
        if other is None:
            raise
        try:
            loaded = _load(model, other, summary)
        except GoldenError:
            raise GoldenError(f"{error}; {other.name} {other.version} does no better") from error
        except EdgeError as trouble:
            raise GoldenError(f"{error}; and {other.name} cannot run it: {trouble}") from error
        refusal = f"the engine {choice.name} is not used: {error}"
        return LoadedEngine(loaded.engine, loaded.init_ms, loaded.golden, (refusal,))


def _other(model: Model, choice: Choice) -> Choice | None:
    """Return the engine to take where the chosen one answers wrongly, if there may be another."""
    if model.engine != "auto" or model.accelerator is not None:
        return None
    for name, version in installed().items():
        if name != choice.name:
            reason = f"auto: {choice.name} {choice.version} fails the golden self-test"
            return Choice(name, version, reason, choice.threads)
    return None


def _load(model: Model, choice: Choice, summary: ModelSummary) -> LoadedEngine:
    engine, init_ms = _timed(model, choice)
    if model.golden is None:
        return LoadedEngine(engine, init_ms)
    from edge.engines.golden import self_test  # only who has golden answers pays for it

    found = self_test(engine, model.golden.path, steps=model.golden.steps, digest=summary.sha256)
    if summary.keeps_state:  # the frames shall find no trace of the test
        del engine  # first: an accelerator may be for one at a time
        engine, init_ms = _timed(model, choice)
    return LoadedEngine(engine, init_ms, found)


def _timed(model: Model, choice: Choice) -> tuple[Engine, float]:
    began = time.monotonic()
    engine = Engine(model.path, choice, threads=choice.threads, accelerator=model.accelerator)
    return engine, (time.monotonic() - began) * 1e3
