"""Options that the commands of the workshop share: the data, and how it becomes an input."""

import argparse
import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.cli.progress import Steps
    from edge.workshop.data import Data, Input

LARGEST_SEED = 2**32 - 1
CALIBRATION_SAMPLES = 300
LONGEST_S = 3600
BESIDE_THE_MODEL = frozenset({"help", "json"})
"""Options that say nothing of what is made."""


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add `--data` and what says how its samples become a model's input."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder with a folder of pictures for each class (perhaps below train/ and test/), "
        "or an .npz file with x_train, y_train, x_test, y_test, or x and y",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="names of the classes, in the outputs' order"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default %(default)s)")
    pictures = parser.add_argument_group("pictures, as in a device's YAML")
    pictures.add_argument("--resize", choices=("stretch", "letterbox", "crop"), default="stretch")
    pictures.add_argument(
        "--interpolation", choices=("pyramid", "area", "linear"), default="pyramid"
    )
    pictures.add_argument(
        "--mean",
        type=_numbers,
        metavar="X[,X,X]",
        help="with --std: the network expects (pixel - mean) / std (default: pixel / 255)",
    )
    pictures.add_argument("--std", type=_numbers, metavar="X[,X,X]")


def input_of(
    args: argparse.Namespace,
    model: Path,
    shape: tuple[int, ...],
    told: "Mapping[str, Any] | None" = None,
) -> "Input":
    """Return how samples become an input of this shape, without its batch.

    What a model's own card has `told` of it counts, not the options.
    """
    from pydantic import ValidationError

    from edge.config.model import Model
    from edge.workshop.data import Input

    if not 0 <= args.seed <= LARGEST_SEED:
        raise ConfigError(f"--seed must be from 0 to {LARGEST_SEED}")
    given = {name: getattr(args, name) for name in ("resize", "interpolation", "mean", "std")}
    try:
        return Input(shape, Model.model_validate({"path": model, **given, **(told or {})}))
    except ValidationError as error:
        raise ConfigError(f"--mean, --std: {error.errors()[0]['msg']}") from error


def data_of(
    args: argparse.Namespace,
    form: "Input",
    on_step: "Steps",
    *,
    labelled: bool = True,
    labels: "Sequence[str] | None" = None,
) -> "Data":
    """Read `--data`; unless it must be `labelled`, labels may lack.

    Classes are in the order of `labels`, where they are given, else of `--labels`.
    """
    from edge.config.labels import read_labels
    from edge.sources.images import find_files
    from edge.workshop.data import read_data

    files = 0
    if args.data.is_dir():
        with contextlib.suppress(SourceError):  # what is wrong with it is said below
            files = len(find_files(args.data))
    return read_data(
        args.data,
        form,
        seed=args.seed,
        labels=read_labels(args.labels) if labels is None else labels,
        labelled=labelled,
        on_sample=on_step("reading the data", files),
    )


def add_out_options(parser: argparse.ArgumentParser) -> None:
    """Add `--out` and what the card says of the model that is made."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the model's folder, new, or an older model's, which is replaced",
    )
    card = parser.add_argument_group("the card")
    card.add_argument("--name", help="(default: the name of the folder)")
    card.add_argument(
        "--model-version", default="1.0", metavar="TEXT", help="(default %(default)s)"
    )
    card.add_argument("--description", metavar="TEXT", help="one line")
    card.add_argument(
        "--licence", default="not stated", metavar="TEXT", help="of the model and its data"
    )
    parser.set_defaults(parser=parser)


def add_training_options(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    """Add what training, calibrating and measuring take."""
    parser.add_argument(
        "--epochs", type=int, default=epochs, metavar="N", help="(default %(default)s)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=CALIBRATION_SAMPLES,
        metavar="N",
        help="samples of the training part to calibrate int8 on, at most (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="N", help="time each model (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the card")


def check_training_options(args: argparse.Namespace) -> None:
    """Raise ConfigError where one of these will not do."""
    for option, value in (("--epochs", args.epochs), ("--samples", args.samples)):
        if value < 1:
            raise ConfigError(f"{option} must be at least 1, not {value}")
    if not 0 < args.seconds <= LONGEST_S:
        raise ConfigError(f"--seconds must be more than 0 and at most {LONGEST_S}")


def card_head(args: argparse.Namespace, description: str) -> dict[str, Any]:
    """Return what a card begins with. Raises ConfigError where a word of it will not do."""
    from edge.workshop.card import check_head

    name = args.name or re.sub(r"[^a-z0-9]+", "-", args.out.resolve().name.lower()).strip("-")
    head = {
        "name": name,
        "version": args.model_version,
        "description": args.description or description,
        "licence": args.licence,
    }
    check_head(head)
    return head


def command_of(args: argparse.Namespace) -> str:
    """Return the command as it was given, for a recipe: what is default is left out.

    Files are named without their folders, which are this machine's own.
    """
    parser: argparse.ArgumentParser = args.parser
    words = parser.prog.split()
    for action in parser._actions:  # noqa: SLF001  there is no other list of them
        value = getattr(args, action.dest, action.default)
        if action.dest in BESIDE_THE_MODEL or value == action.default or value is None:
            continue
        told = (
            ",".join(map(str, value))
            if action.type is _numbers and isinstance(value, list)
            else value
        )
        shown = [_word(each) for each in _listed(told)]
        flags = action.option_strings[-1:]
        words += [*flags, *([] if value is True else shown)]
    return shlex.join(words)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value.name if isinstance(value, Path) else str(value)


def pipeline_of(form: "Input", *, classifies: bool) -> dict[str, Any]:
    """Return what a card says of the pipeline: what differs from a device's defaults."""
    told = form.model.model_dump(mode="json", include={"resize", "interpolation", "mean", "std"})
    usual = {"resize": "stretch", "interpolation": "pyramid"}
    model = {name: value for name, value in told.items() if value not in (None, usual.get(name))}
    decode = {"decode": {"type": "classification"}} if classifies else {}
    return decode | ({"model": model} if model else {})


def _numbers(text: str) -> float | list[float]:
    numbers = [float(word) for word in text.split(",")]
    return numbers if len(numbers) > 1 else numbers[0]
