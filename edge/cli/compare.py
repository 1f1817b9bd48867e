"""`edge optimize compare`: models beside one another, by size, latency and accuracy."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.progress import steps
from edge.cli.workshop_options import add_data_options, data_of, input_of
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.cli.progress import Steps
    from edge.cli.tables import Style
    from edge.workshop.compare import Candidate, Comparison
    from edge.workshop.data import Data

LONGEST_S, MOST_THREADS = 3_600, 64


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "compare",
        help="set models beside one another by size, latency and accuracy",
        description="Runs each model on the held-out part of the data, on the runtime's engine, "
        "and measures all of them in turns, as `edge bench` does. Networks of Keras are taken as "
        "float .tflite. The first model is what the others are held against. A star marks those "
        "that no other one beats.",
    )
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="a .tflite or .keras file, a model's folder or a SavedModel",
    )
    add_data_options(parser)
    parser.add_argument(
        "--engine",
        choices=("auto", "litert", "tflite-runtime"),
        default="auto",
        help="(default %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of the engine (default %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="N",
        help="measure each at least so long (default 5)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the Pareto fronts")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print and draw."""
    from edge.lab.machine import this_machine
    from edge.lab.saved import write_whole
    from edge.supervisor.clock import utc
    from edge.workshop.compare import candidate, compare
    from edge.workshop.pareto_plot import pareto_plot

    _check(args)
    with steps() as on_step, tempfile.TemporaryDirectory(prefix="edge-compare-") as scratch:
        on_step("opening the models", 0)
        candidates = [candidate(path, Path(scratch)) for path in args.models]
        comparison = compare(
            candidates,
            _read(args, candidates, on_step),
            at=utc(),
            machine=this_machine(),
            seconds=args.seconds,
            engine=args.engine,
            threads=args.threads,
            on_step=on_step,
        )
    show(comparison, "json" if args.json else "markdown" if args.markdown else "text")
    if args.plot is not None:
        write_whole(args.plot, pareto_plot(comparison))
        print(f"edge optimize compare: drawn in {args.plot}", file=sys.stderr)
    return 0


def show(comparison: "Comparison", style: "Style") -> None:
    """Print it on standard output."""
    import json

    from edge.cli.tables import show_table
    from edge.workshop.compare import PARETO_OF, comparison_table

    if style == "json":
        print(json.dumps(comparison.as_json))
        return
    gap = "\n" if style == "markdown" else ""
    print(f"{comparison.machine}{gap}")
    threads = f"{comparison.threads} thread{'s' * (comparison.threads > 1)}"
    data = f"data {comparison.data.digest[:12]}, {len(comparison.data.test):,} samples held out"
    print(f"{comparison.engine}, {threads}; {data}{gap}")
    show_table(comparison_table(comparison), style)
    star = "\\*" if style == "markdown" else "*"
    print(f"{star} {PARETO_OF}")


def _check(args: argparse.Namespace) -> None:
    """Find out before any work what could not be done."""
    if not 0 < args.seconds <= LONGEST_S:
        raise ConfigError(f"--seconds must be more than 0 and at most {LONGEST_S}")
    if not 1 <= args.threads <= MOST_THREADS:
        raise ConfigError(f"--threads must be from 1 to {MOST_THREADS}")
    named = [path.resolve() for path in args.models]
    twice = next((path for path in named if named.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice}: is named twice")
    if args.plot is not None and not args.plot.absolute().parent.is_dir():
        raise ConfigError(f"{args.plot}: there is no folder {args.plot.absolute().parent}")


def _read(
    args: argparse.Namespace, candidates: "list[Candidate]", on_step: "Steps"
) -> "list[Data]":
    """Return the data as each model takes it; read once for those that take it alike."""
    from edge.config.labels import read_labels

    given = read_labels(args.labels)
    of_some = next((each.labels for each in candidates if each.labels), [])
    read: list[tuple[object, Data]] = []
    parts = []
    for each in candidates:
        form = input_of(args, each.path, each.sample_shape, each.options)
        labels = given or each.labels or of_some
        key = (form.shape, form.model.model_dump(exclude={"path"}), labels)
        data = next((data for known, data in read if known == key), None)
        if data is None:
            data = data_of(args, form, on_step, labels=labels)
            read.append((key, data))
        parts.append(data)
    return parts
