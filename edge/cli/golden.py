"""`edge golden`: writes the answers that a model must give, from real inputs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "golden",
        help="write the answers that a model must give",
        description="Runs a model over inputs that you trust it with, in every engine that is "
        "installed, and writes inputs and answers to a golden file. A pipeline whose `model:` "
        "names that file compares before its first frame.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file")
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="*",
        metavar="INPUT",
        help="images, folders of images, .npy arrays or .bin files",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default MODEL with .golden.npz for .tflite)"
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="to the file that is there, without inputs: the answers of this machine's engines",
    )
    parser.add_argument(
        "--keep",
        type=int,
        default=16,
        metavar="N",
        help="of more inputs, those whose answers say most (default %(default)s)",
    )
    parser.add_argument(
        "--engine", choices=("litert", "tflite-runtime"), help="this one only (default: all)"
    )
    parser.add_argument("--tile", type=int, metavar="N", help="pictures are sheets of NxN tiles")
    parser.add_argument("--resize", choices=("stretch", "letterbox", "crop"), default="stretch")
    parser.add_argument("--interpolation", choices=("pyramid", "area", "linear"), default="pyramid")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what is in it."""
    from edge.cli.infer import files_of
    from edge.engines.golden import MOST_VECTORS
    from edge.supervisor.trial import ask

    if not 1 <= args.keep <= MOST_VECTORS:
        raise ConfigError(f"--keep must be from 1 to {MOST_VECTORS}, not {args.keep}")
    if bool(args.inputs) == args.add:
        raise ConfigError("name inputs to make a golden file, or --add answers to one")
    files = files_of(args.model, args.inputs)
    options = "" if args.add else _options(args, files).model_dump_json()
    out = args.out or args.model.with_name(f"{args.model.stem}.golden.npz")
    made, _ = ask(
        "edge.worker.make_golden",
        args.model,
        options,
        args.engine or "",
        str(args.keep),
        str(out),
    )
    for why in made["left_out"]:
        print(f"left out: {why}")
    inputs = f"{made['vectors']} inputs"
    if made["offered"] > made["vectors"]:
        inputs = f"{made['vectors']} of {made['offered']:,} inputs"
    engines = ", ".join(made["engines"])
    print(f"{out}: {inputs} and the answers of {engines}, {made['size_bytes']:,} bytes")
    if len(made["engines"]) > 1:
        apart = made["apart_steps"]
        print(f"they are at most {apart:g} step{'s' * (apart != 1)} apart")
    print(f"in the YAML, beside the model's path: golden: {out}")
    return 0


def _options(args: argparse.Namespace, files: list[Path]) -> "Pipeline":
    """A pipeline over these files, as far as it is needed to make inputs of them."""
    from pydantic import ValidationError

    from edge.config.pipeline import Pipeline

    source: dict[str, Any] = {"type": "images", "path": files, "tile": args.tile}
    model = {"path": args.model, "resize": args.resize, "interpolation": args.interpolation}
    try:
        return Pipeline.model_validate({"source": source, "model": model})
    except ValidationError as error:
        raise ConfigError(f"--tile: {error.errors()[0]['msg']}") from error
