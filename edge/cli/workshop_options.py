"""Options that the commands of the workshop share: the data, and how it becomes an input."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.workshop.data import Data, Input

LARGEST_SEED = 2**32 - 1


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


def input_of(args: argparse.Namespace, model: Path, shape: tuple[int, ...]) -> "Input":
    """Return how samples become an input of this shape, without its batch."""
    from pydantic import ValidationError

    from edge.config.model import Model
    from edge.workshop.data import Input

    if not 0 <= args.seed <= LARGEST_SEED:
        raise ConfigError(f"--seed must be from 0 to {LARGEST_SEED}")
    given = {name: getattr(args, name) for name in ("resize", "interpolation", "mean", "std")}
    try:
        return Input(shape, Model.model_validate({"path": model, **given}))
    except ValidationError as error:
        raise ConfigError(f"--mean, --std: {error.errors()[0]['msg']}") from error


def data_of(args: argparse.Namespace, form: "Input", *, labelled: bool = True) -> "Data":
    """Read `--data`, with a bar where there are many pictures."""
    from edge.cli.progress import progress
    from edge.config.labels import read_labels
    from edge.sources.images import find_files
    from edge.workshop.data import read_data

    files = len(find_files(args.data)) if args.data.is_dir() else 0
    with progress("reading pictures", files) as advance:
        return read_data(
            args.data,
            form,
            seed=args.seed,
            labels=read_labels(args.labels),
            labelled=labelled,
            on_sample=advance,
        )


def pipeline_of(form: "Input", *, classifies: bool) -> dict[str, Any]:
    """Return what a card says of the pipeline: what differs from a device's defaults."""
    told = form.model.model_dump(mode="json", include={"resize", "interpolation", "mean", "std"})
    usual = {"resize": "stretch", "interpolation": "pyramid"}
    model = {name: value for name, value in told.items() if value not in (None, usual.get(name))}
    decode = {"decode": {"type": "classification" if classifies else "raw"}}
    return decode | ({"model": model} if model else {})


def _numbers(text: str) -> float | list[float]:
    numbers = [float(word) for word in text.split(",")]
    return numbers if len(numbers) > 1 else numbers[0]
