"""Tries an accelerator as far as a forward pass, in a process that may crash or hang of it.

Started as `python -c BOOTSTRAP MODEL ACCELERATOR ENGINE` by `edge.supervisor.probing`; it prints a
JSON object a line: each step before it is taken, and the result.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge.accelerators.base import AcceleratorOptions
from edge.engines.choose import choose
from edge.engines.engine import Engine
from edge.engines.model_file import read_model_file
from edge.errors import AcceleratorError, EdgeError
from edge.plugins import options_of


def main() -> None:
    """Try the accelerator that the command line names, and say how far it came."""
    path, told, engine = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    kinds = options_of("edge.accelerators", AcceleratorOptions)
    accelerator: Any = kinds[told["type"]].model_validate(told)
    try:
        read_model_file(path)  # before any interpreter: some die of a file that is damaged
        tried = Engine(
            path,
            choose(engine),
            threads=1,
            accelerator=accelerator,
            reached=lambda step: _say(step=step),
        )
        _say(step="invoke")
        tried.run(np.zeros(tried.inputs[0].shape, tried.inputs[0].dtype))
    except AcceleratorError as error:
        _say(failed=type(error).__name__, message=str(error), cause=error.cause)
    except EdgeError as error:
        _say(failed=type(error).__name__, message=str(error))
    else:
        _say(ok=True)


def _say(**said: Any) -> None:
    print(json.dumps(said), flush=True)  # noqa: T201 - its word to who started it
