"""Walks through the workshop on both of its tasks by its commands, and prints the README's tables.

`python -m edge.workshop.figures --out FOLDER` exports, quantizes, prunes, distills and compares;
all that comes of it stays in the folder, and what it prints on standard output is Markdown.
`--short` tries the same with hardly any training: its figures say nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import runpy
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from edge.errors import EdgeError
from edge.workshop.framework import tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHORT_EPOCHS = 2
LAST_WORDS = 5  # lines of a command that failed


@dataclass(frozen=True, slots=True)
class Task:
    """What is walked through: a recipe's export, and how long its networks are trained further."""

    name: str
    title: str
    network: str
    """The trained network's file."""
    pruning_epochs: int
    distilling_epochs: int


TASKS = {
    "digits": Task(
        "digits",
        "One handwritten digit, 8x8 grey",
        "digits.keras",
        pruning_epochs=60,
        distilling_epochs=100,
    ),
    "cluttered": Task(
        "cluttered",
        "One digit over textures and among distractors, 32x32 colour",
        "teacher.keras",
        pruning_epochs=12,
        distilling_epochs=40,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Walk, and print what came of it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge.workshop.figures", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="what to fill")
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="hardly any training: a try")
    arguments = parser.parse_args(argv)
    # Each `edge` is forked off here, so that TensorFlow is loaded once: without a thread yet.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        tensorflow()
        for name in arguments.task or TASKS:
            steps = commands(TASKS[name], seed=arguments.seed, short=arguments.short)
            for line in walk(TASKS[name], steps, arguments.out / name):
                print(line, flush=True)
    except EdgeError as error:
        print(f"edge.workshop.figures: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def commands(task: Task, *, seed: int, short: bool) -> dict[str, list[str]]:
    """Return what is typed, by the name of the step, which is also that of the folder it makes."""
    data = ["--data", f"{task.name}.npz", *(["--seed", str(seed)] if seed else [])]
    briefly = ["--seconds", "0.1", "--samples", "50"] if short else ["--seconds", "1"]

    def made(step: str, how: list[str], epochs: int | None = None) -> list[str]:
        trained = [] if epochs is None else ["--epochs", str(SHORT_EPOCHS if short else epochs)]
        return ["edge", "optimize", *how, *data, *trained, *briefly, "--out", step]

    export = ["python", "-m", f"edge.workshop.{task.name}", "--export", ".", "--seed", str(seed)]
    if short and task.name == "cluttered":
        export.append("--short")
    rounds = ["--rounds", "1"] if short else []
    prune = ["prune", task.network]
    distill = ["distill", "--teacher", task.network, "--student", "student.keras"]
    steps = {
        "export": export,
        "int8": made("int8", ["quantize", task.network]),
        "int8-weights": made("int8-weights", ["quantize", task.network, "--mode", "int8-weights"]),
        "int16x8": made("int16x8", ["quantize", task.network, "--mode", "int16x8"]),
        "pruned-weights": made(
            "pruned-weights", [*prune, "--sparsity", "0.8"], task.pruning_epochs
        ),
        "pruned-channels": made(
            "pruned-channels",
            [*prune, "--structured", "--sparsity", "0.5", *rounds],
            task.pruning_epochs,
        ),
        "distilled": made("distilled", distill, task.distilling_epochs),
    }
    models = [task.network, *list(steps)[1:]]
    output = [*(["--seconds", "0.1"] if short else []), "--plot", "pareto.svg", "--markdown"]
    return steps | {"compare": ["edge", "optimize", "compare", *models, *data, *output]}


def walk(task: Task, steps: dict[str, list[str]], folder: Path) -> Iterator[str]:
    """Run the commands in the folder, one after the other; yield Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    yield f"#### {task.title}\n"
    yield "```console"
    for step, words in steps.items():
        yield f"$ {shlex.join(words)}"
        began = time.monotonic()
        run(step, words, folder)
        print(f"{task.name}: {step}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    yield "```\n"
    yield said(folder, "compare").read_text(encoding="utf-8").rstrip() + "\n"
    yield what_the_teacher_brought(
        yaml.safe_load((folder / "distilled" / "card.yaml").read_text(encoding="utf-8"))
    )


def what_the_teacher_brought(card: dict[str, Any]) -> str:
    """Return a sentence on the student, distilled against alone, by its card."""
    right = {
        each["network"]: f"{each['right'] / each['of']:.2%} ({each['right']:,} of {each['of']:,})"
        for each in card["figures"]
        if each["mode"] == "int8"
    }
    gain = card["compared"]["int8"]
    return (
        f"The student in int8, trained alone: {right['student alone']}; by its teacher: "
        f"{right['student distilled']}, {gain['points']:+.2f} points "
        f"(95 %: {gain['interval_95']}).\n"
    )


def run(step: str, words: list[str], folder: Path) -> None:
    """Run a command as its user would; `edge` in a fork of this process.

    Raises EdgeError with its last words where it fails.
    """
    with said(folder, step).open("wb") as out, said(folder, step, "err").open("wb") as err:
        if words[0] == "edge":
            become = multiprocessing.get_context("fork").Process(
                target=_become_edge, args=(words[1:], folder, (out.fileno(), err.fileno()))
            )
            become.start()
            become.join()
            status = become.exitcode
        else:
            command = [sys.executable, *words[1:]]
            done = subprocess.run(command, cwd=folder, stdout=out, stderr=err, check=False)
            status = done.returncode
    if status:
        errors = said(folder, step, "err").read_text(encoding="utf-8").splitlines()
        raise EdgeError("\n".join([f"failed: {shlex.join(words)}", *errors[-LAST_WORDS:]]))


def said(folder: Path, step: str, what: str = "txt") -> Path:
    """Return where a command's standard output (`txt`) or standard error (`err`) is kept."""
    return folder / f"{step}.{what}"


def _become_edge(arguments: list[str], folder: Path, outputs: tuple[int, int]) -> None:
    for descriptor, output in enumerate(outputs, start=1):
        os.dup2(output, descriptor)
    os.chdir(folder)
    sys.argv = ["edge", *arguments]
    runpy.run_module("edge", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.exit(main())
