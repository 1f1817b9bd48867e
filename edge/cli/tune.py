"""`edge tune`: the engine and the threads that suit this device best, by measurement."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
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
    from edge.config.load import load
    from edge.engines.tuning import state_directory, write_tuning
    from edge.lab.tune import Listener, Tuner

    for option in ("seconds", "turns"):
        value = getattr(args, option)
        if not 0 < value <= 3600:  # noqa: PLR2004  an hour
            raise ConfigError(f"--{option} must be more than 0 and at most 3600, not {value:g}")
    folder = args.state_dir or state_directory()
    if folder is None:
        raise ConfigError("there is no home for the choice: name a folder with --state-dir")
    device = load(args.config)
    with _bar() as (grow, advance):

        def plan(words: str, seconds: float) -> None:
            print(words, file=sys.stderr, flush=True)
            grow(seconds)

        listener = Listener(
            plan=plan,
            said=lambda words: print(words, file=sys.stderr, flush=True),
            measured=advance,
            judged=(lambda *_: None) if args.json else _print_table,
        )
        tuning = Tuner(
            device,
            seconds=args.seconds,
            turns=args.turns,
            synthetic=args.synthetic,
            listener=listener,
        ).run()
    path = write_tuning(tuning, folder)
    if args.json:
        print(tuning.model_dump_json())
    else:
        print(f"written to {path}")
    return 0


def _print_table(name: str, outcomes: "Sequence[Outcome]", verdict: "Verdict") -> None:
    from edge.lab.verdict import figure_name, ms

    print(f"\npipeline {name}, deadline {verdict.chosen.deadline_ms:g} ms")
    columns = ("frames", "P50 ms", "P90 ms", "P99 ms", "max ms", "missed", "CPU ms/frame")
    print(f"  {'':26}{''.join(f'{column:>8}' for column in columns[:-1])}{columns[-1]:>14}")
    for outcome in outcomes:
        mark = "*" if outcome is verdict.chosen else " "
        if outcome.failed is not None:
            print(f"{mark} {outcome.candidate!s:26}  cannot be run")
            continue
        total = outcome.total
        found = [total.latency.supported_percentile(q) for q in (50, 90, 99)]
        shown = ["-" if value is None else ms(value / 1000) for value in found]
        cells = [
            f"{total.answered}",
            *shown,
            ms(total.latency.max / 1000),
            f"{total.miss_share:.1%}",
        ]
        row = "".join(f"{cell:>8}" for cell in cells)
        print(f"{mark} {outcome.candidate!s:26}{row}{outcome.cpu_ms:14.2f}")
    engine = verdict.chosen.candidate.engine
    print(f"  {engine}, {verdict.because}")
    if verdict.q != 99:  # noqa: PLR2004
        print(
            f"  {figure_name(verdict.q)} decided: a P99 needs 100 frames of each candidate; "
            "longer turns (--seconds) give more"
        )


@contextlib.contextmanager
def _bar() -> Iterator[tuple[Callable[[float], None], Callable[[float], None]]]:
    """Yield what to call with the seconds to come, and with those that went by.

    At a terminal they move a bar along.
    """
    if not sys.stderr.isatty():
        yield (lambda _seconds: None), (lambda _seconds: None)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=None)
        yield (
            lambda seconds: progress.update(task, total=seconds),
            lambda seconds: progress.advance(task, seconds),
        )
