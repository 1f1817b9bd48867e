"""`edge bench`: what the forward pass of a model costs on this device."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from edge.cli.tables import Style
    from edge.engines.choose import Choice
    from edge.engines.model_summary import ModelSummary
    from edge.lab.bench import Plan
    from edge.lab.report import Accuracy

LONGEST_S, HIGHEST_RATE_HZ = 86_400, 10_000
MOST_THREADS, LARGEST_EDGE, LARGEST_BATCH = 64, 8192, 256


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure what a model costs on this device",
        description="Times the bare forward pass of a model on every engine and thread count, in "
        "turns, in one run. With --compare it ranks several models. Inputs are seeded noise. "
        "With --pipeline it times the whole loop against the forward pass alone.",
    )
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL", help="a .tflite file")
    parser.add_argument("--compare", action="store_true", help="rank several models")
    parser.add_argument(
        "--pipeline",
        action="store_true",
        help="time the whole loop of a device YAML's pipelines: `--pipeline CONFIG [NAME]`",
    )
    parser.add_argument(
        "--engine",
        metavar="NAMES",
        help="litert, tflite-runtime, auto, or several with commas (default: all installed; with "
        "--compare auto)",
    )
    parser.add_argument(
        "--threads",
        metavar="N,N",
        help="thread counts (default: 1, 2, 4 ... up to the cores; with --compare 1)",
    )
    parser.add_argument(
        "--input-size",
        "--input-sizes",
        metavar="SIZES",
        help="sweep the model's picture over these sizes: 96,128,160 or 320x240,640x480",
    )
    parser.add_argument(
        "--batch",
        metavar="N,N",
        help="so many frames in one forward pass, each number in turn: 1,2,4,8 (default 1)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="N",
        help="measure each subject at least so long (default 5)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="pace the invokes as a camera would, caches cold (default: as fast as possible)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw percentile curves")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the results")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with saved ones")
    pictures = parser.add_argument_group("accuracy, with --compare")
    pictures.add_argument("--images", type=Path, metavar="FOLDER", help="labelled pictures")
    pictures.add_argument(
        "--truth",
        choices=("folder", "name"),
        default="folder",
        help="where a picture's label stands: its folder's name, or its own up to the first _",
    )
    pictures.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes")
    pictures.add_argument("--resize", choices=("stretch", "letterbox", "crop"), default="stretch")
    pictures.add_argument("--interpolation", choices=("area", "linear"), default="area")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when nothing could be measured."""
    from edge.cli import bench_pipeline, bench_view
    from edge.cli.progress import progress
    from edge.lab import against, bench, saved
    from edge.lab.machine import this_machine
    from edge.lab.plot import plot
    from edge.lab.report import make_report, report_model
    from edge.lab.subject import CONTROL, combine
    from edge.supervisor.clock import utc

    plan = _plan(args)
    _check_folders(args.plot, args.save)
    if args.pipeline:
        return bench_pipeline.run(args, _sizes(args.input_size), plan.seconds)
    engines, threads, sizes = _engines(args), _threads(args), _sizes(args.input_size)
    batches = _batches(args)
    models = _read_models(args)
    then = saved.load(args.against) if args.against is not None else None
    if then is not None:
        digests = {model.sha256 for model in models}
        against.refuse_others(then, args.against, digests=digests, rate_hz=plan.rate_hz)
    accuracies = _accuracies(args, models, engines[0].name)
    subjects = [CONTROL, *combine([each.path for each in models], engines, threads, sizes, batches)]
    with progress("measuring", len(subjects) * plan.slices) as advance:
        runs, failures = bench.measure(subjects, plan, advance)
    report = make_report(
        at=utc(),
        machine=this_machine(),
        plan=plan,
        models=[report_model(model, accuracies.get(model.sha256)) for model in models],
        digests={model.path: model.sha256 for model in models},
        runs=runs,
        failures=failures,
    )
    for line in bench_view.failure_lines(failures, nothing_else=not report.subjects):
        print(f"edge bench: {line}", file=sys.stderr)
    if not report.subjects:
        return 1
    found = against.against(report, then) if then is not None else None
    style: Style = "json" if args.json else "markdown" if args.markdown else "text"
    bench_view.show(report, style, found=found, ranked=args.compare)
    if args.save is not None:  # last: what was measured is seen, even where it cannot be saved
        saved.save(report, args.save)
    if args.plot is not None:
        saved.write_whole(args.plot, plot(report))
    return 0


def _plan(args: argparse.Namespace) -> "Plan":
    from edge.lab.bench import Plan

    if not 0 < args.seconds <= LONGEST_S:
        raise ConfigError(f"--seconds must be more than 0 and at most {LONGEST_S}")
    if args.rate is not None and not 0 < args.rate <= HIGHEST_RATE_HZ:
        raise ConfigError(f"--rate must be more than 0 and at most {HIGHEST_RATE_HZ}")
    return Plan(args.seconds, args.rate)


def _engines(args: argparse.Namespace) -> "list[Choice]":
    """Return the engines to measure; all that are installed where nothing else is asked."""
    from edge.engines.choose import DISTRIBUTIONS, choose, installed

    if args.engine is None:
        wanted = ["auto"] if args.compare else list(installed()) or ["auto"]
    else:
        wanted = args.engine.split(",")
    for name in wanted:
        if name != "auto" and name not in DISTRIBUTIONS:
            raise ConfigError(
                f"--engine: {name!r} is none; name {', '.join(DISTRIBUTIONS)} or auto"
            )
    return list({choice.name: choice for choice in map(choose, wanted)}.values())


def _threads(args: argparse.Namespace) -> list[int]:
    from edge.lab.machine import usable_cores

    if args.threads is None:
        cores = 1 if args.compare else usable_cores()
        return sorted({1 << power for power in range(cores.bit_length())} | {cores})
    return sorted({_number(word, "--threads", MOST_THREADS) for word in args.threads.split(",")})


def _sizes(words: str | None) -> list[tuple[int, int] | None]:
    """Return widths and heights; just None, the model's own size, where none is asked for."""
    if words is None:
        return [None]
    sizes = []
    for word in words.split(","):
        width, by, height = word.lower().partition("x")
        edges = (width, height if by else width)
        sizes.append(tuple(_number(edge, "--input-size", LARGEST_EDGE) for edge in edges))
    return list(dict.fromkeys(sizes))  # type: ignore[arg-type]


def _batches(args: argparse.Namespace) -> list[int]:
    if args.batch is None:
        return [1]
    for option in ("compare", "input_size"):
        if getattr(args, option):
            raise ConfigError(f"--batch does not go with --{option.replace('_', '-')}")
    return sorted({_number(word, "--batch", LARGEST_BATCH) for word in args.batch.split(",")})


def _number(word: str, option: str, most: int) -> int:
    if not word.strip().isdecimal() or not 1 <= int(word) <= most:
        raise ConfigError(f"{option}: {word!r} is no whole number from 1 to {most}")
    return int(word)


def _check_folders(*files: Path | None) -> None:
    """Find out before measuring where results could not be written."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{file}: there is no folder {file.absolute().parent}")
        if file is not None and file.is_dir():
            raise ConfigError(f"{file}: is a folder; name a file")


def _read_models(args: argparse.Namespace) -> "list[ModelSummary]":
    from edge.engines.model_file import read_model_file

    if not args.models:
        raise ConfigError("name a model: a .tflite file")
    if len(args.models) > 1 and not args.compare:
        raise ConfigError("name one model, or rank several with --compare")
    for path in args.models:
        if not path.exists():
            raise ConfigError(f"{path}: there is no such model file")
    models = [read_model_file(path) for path in args.models]
    if len({model.sha256 for model in models}) < len(models):
        raise ConfigError("two of the models are the same file, byte for byte")
    return models


def _accuracies(
    args: argparse.Namespace, models: "list[ModelSummary]", engine: str
) -> "dict[str, Accuracy]":
    """Return the accuracy by the model's digest; nothing where no pictures were given."""
    if args.images is None:
        if args.labels is not None:
            raise ConfigError("--labels goes with --images")
        return {}
    if not args.compare:
        raise ConfigError("--images goes with --compare")
    from edge.cli.progress import progress
    from edge.lab.accuracy import LabelledPictures, accuracy
    from edge.sources.images import find_files

    try:
        files = find_files(args.images)
    except SourceError as error:
        raise ConfigError(str(error)) from error
    pictures = LabelledPictures(
        args.images, args.truth, args.labels, args.resize, args.interpolation
    )
    found = {}
    with progress("labelled pictures", len(files) * len(models)) as advance:
        for model in models:
            found[model.sha256] = accuracy(model.path, pictures, engine, advance)
    unreadable = max(each.unreadable for each in found.values())
    if unreadable:
        print(
            f"edge bench: {args.images}: {unreadable} of the pictures could not be read and are "
            "in no accuracy",
            file=sys.stderr,
        )
    return found
