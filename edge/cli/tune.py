"""`edge tune`: the engine and the threads that suit this device best, by measurement."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.tables import show_table
from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.lab.verdict import Outcome, Verdict


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tune",
        help="choose engines and threads for this device by measurement",
        description="Runs all pipelines of a device YAML at once, as `edge run` does but without "
        "a broker, and tries for each the engines that are installed with 1, 2, ... threads, as "
        "far as the YAML says `auto`. The lowest P99 that holds the deadline is written into the "
        "state directory, where `engine: auto` and `threads: auto` find it at the next start.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the device YAML")
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="N", help="length of a turn (default 5)"
    )
    parser.add_argument(
        "--turns", type=int, default=3, metavar="N", help="turns of each candidate (default 3)"
    )
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="where a source delivers nothing, measure with test frames of its size and rate",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where the choice is written (default $STATE_DIRECTORY, else "
        "$XDG_STATE_HOME/edge-runtime, else ~/.local/state/edge-runtime)",
    )
    parser.add_argument("--json", action="store_true", help="print the choice as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, choose, write down, and say what was found."""
    from edge.cli.progress import progress
    from edge.config.load import load
    from edge.engines.tuning import write_tuning
    from edge.lab.tune import Listener, Tuner
    from edge.state import state_directory

    for option in ("seconds", "turns"):
        value = getattr(args, option)
        if not 0 < value <= 3600:  # noqa: PLR2004  an hour
            raise ConfigError(f"--{option} must be more than 0 and at most 3600, not {value:g}")
    folder = args.state_dir or state_directory()
    if folder is None:
        raise ConfigError("there is no home for the choice: name a folder with --state-dir")
    device = load(args.config)
    with contextlib.ExitStack() as until_measured:

        def plan(words: str, turns: int) -> "Callable[[], None]":
            print(words, file=sys.stderr, flush=True)
            return until_measured.enter_context(progress("measuring", turns))

        listener = Listener(
            plan=plan,
            said=lambda words: print(words, file=sys.stderr, flush=True),
            judged=(lambda *_: None) if args.json else _show,
        )
        tuner = Tuner(
            device,
            seconds=args.seconds,
            turns=args.turns,
            synthetic=args.synthetic,
            listener=listener,
        )
        tuning = tuner.run()
    path = write_tuning(tuning, folder)
    if args.json:
        print(tuning.model_dump_json())
    else:
        print(f"written to {path}")
    return 0


def _show(name: str, outcomes: "Sequence[Outcome]", verdict: "Verdict") -> None:
    from edge.lab.verdict import figure_name, verdict_table

    print(f"\npipeline {name}, deadline {verdict.chosen.deadline_ms:g} ms; times in milliseconds")
    show_table(verdict_table(outcomes, verdict), "text")
    print(f"{verdict.chosen.candidate.engine}, {verdict.because}")
    if verdict.q != 99:  # noqa: PLR2004
        print(
            f"{figure_name(verdict.q)} decided: a P99 needs 100 frames of each candidate; longer "
            "turns (--seconds) give more"
        )
