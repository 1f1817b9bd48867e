"""Which of the two engines can run a model: tflite-runtime lacks operators that converters use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.engines.choose import DISTRIBUTIONS, installed
from edge.errors import EngineError, ModelError
from edge.supervisor.trial import ask

if TYPE_CHECKING:
    from pathlib import Path

OLDER = "tflite-runtime"


def runs_on(model: Path) -> dict[str, str]:
    """Return for each engine `yes`, or why not, tried in a process of its own."""
    versions = installed()
    found = {}
    for engine in DISTRIBUTIONS:
        if engine not in versions:
            hint = " (it has wheels up to Python 3.11)" if engine == OLDER else ""
            found[engine] = f"not tried: it is not installed here{hint}"
            continue
        try:
            ask("edge.engines.loading", model, engine, "1")
        except (ModelError, EngineError) as error:
            found[f"{engine} {versions[engine]}"] = str(error).removeprefix(f"{model}: ")
        else:
            found[f"{engine} {versions[engine]}"] = "yes"
    return found
