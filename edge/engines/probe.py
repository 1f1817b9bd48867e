"""Tries an accelerator as far as a forward pass, in a process that may crash or hang of it.

Started as `python -c BOOTSTRAP MODEL ACCELERATOR ENGINE` by `edge.supervisor.probing`, MODEL empty
where only the device is to be opened. It prints a JSON object a line: each step before it is taken,
and the result.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.accelerators.base import AcceleratorOptions
from edge.engines.choose import choose
from edge.engines.delegates import load_delegate, refuse_unfit
from edge.engines.engine import Engine, interpreter_class
from edge.engines.model_file import read_model_file
from edge.errors import AcceleratorError, EdgeError
from edge.plugins import options_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.accelerators.base import Step
    from edge.engines.choose import Choice


def main() -> None:
    """Try the accelerator that the command line names, and say how far it came."""
    path, told, engine = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    kinds = options_of("edge.accelerators", AcceleratorOptions)
    accelerator: Any = kinds[told["type"]].model_validate(told)
    # What a library prints must not be taken for our word.
    words = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**said: Any) -> None:
        words.write(json.dumps(said) + "\n")
        words.flush()

    try:
        remarks = _try(path, choose(engine), accelerator, lambda step: say(step=step))
    except AcceleratorError as error:
        say(failed=type(error).__name__, message=str(error), cause=error.cause)
    except EdgeError as error:
        say(failed=type(error).__name__, message=str(error))
    else:
        say(ok=True, remarks=remarks)


def _try(
    path: str, choice: Choice, accelerator: AcceleratorOptions, reached: Callable[[Step], None]
) -> list[str]:
    """Run a model on zeros, or only open the device where none is named; return the remarks."""
    if not path:
        reached("engine")
        interpreter_class(choice.name)
        load_delegate(choice.name, accelerator, reached)
        return []
    # Before any interpreter: some die of a file that is damaged.
    refuse_unfit(accelerator, read_model_file(Path(path)))
    tried = Engine(Path(path), choice, threads=1, accelerator=accelerator, reached=reached)
    reached("invoke")
    tried.run(np.zeros(tried.inputs[0].shape, tried.inputs[0].dtype))
    return _remarks(accelerator, tried)


def _remarks(accelerator: AcceleratorOptions, tried: Engine) -> list[str]:
    found = tried.delegated
    if found is None:
        return []
    taken, rest = sum(found.taken.values()), sum(found.left.values()) + sum(found.untold.values())
    return accelerator.remarks(taken=taken, operators=taken + rest)
