"""`edge infer`: predictions for files, once, without a daemon."""

import argparse
import json
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import AcceleratorError, ConfigError, EdgeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.config.pipeline import Pipeline
    from edge.wire import Done, Note, Record

FILL_MS = 10_000  # the longest that files which are slow to read hold up a batch


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "infer",
        help="run a model over files",
        description="Runs a model over images, folders of images, .npy arrays, and .bin files "
        "that hold the raw bytes of the model's input.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file")
    parser.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="a file or folder")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes")
    parser.add_argument("--top-k", type=int, default=3, metavar="K", help="classes (default 3)")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="S",
        help="lowest score (default 0; of centroids 0.5)",
    )
    parser.add_argument(
        "--decode",
        choices=("classification", "centroids", "raw"),
        default="classification",
        help="what the output means (default classification)",
    )
    parser.add_argument("--resize", choices=("stretch", "letterbox", "crop"), default="stretch")
    parser.add_argument("--interpolation", choices=("pyramid", "area", "linear"), default="pyramid")
    parser.add_argument("--engine", choices=("auto", "litert", "tflite-runtime"), default="auto")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument(
        "--accelerator",
        metavar="edgetpu|LIBRARY",
        help="run it on a Coral Edge TPU, or through a delegate's library",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="inputs that share a forward pass"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an input, one a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the predictions of each input; 1 when one of them could not be run."""
    from edge.cli.progress import progress
    from edge.supervisor.trial import records
    from edge.wire import Done

    files = files_of(args.model, args.inputs)
    options = _proven(_options(args, files))
    failed = 0
    with progress("inferring", len(files)) as advance:
        for record in _in_order(records("infer", options)):
            if isinstance(record, Done):
                _print_result(record, as_json=args.json, whole_path=len(files) > 1)
            elif record.event == "frame_failed":
                failed += 1
                _print_failure(record, as_json=args.json)
            else:
                print(f"edge infer: {record.message}", file=sys.stderr)
                continue
            advance()
    return 1 if failed else 0


def files_of(model: Path, inputs: list[Path]) -> list[Path]:
    """Return the files that the inputs stand for. Raises ConfigError where one is not there."""
    from edge.sources.images import find_files

    try:
        files = [file for path in inputs for file in find_files(path)]
    except SourceError as error:
        raise ConfigError(str(error)) from error
    if not model.exists():
        raise ConfigError(f"{model}: there is no such model file")
    return files


def _proven(options: "Pipeline") -> "Pipeline":
    """Return it with the engine that works with its accelerator. Raises AcceleratorError."""
    from edge.supervisor.probing import probe_now

    if options.model.accelerator is None:
        return options
    probed = probe_now(options.model)
    if not probed.ok:
        raise AcceleratorError(probed.trouble, probed.cause)
    for remark in probed.remarks:
        print(f"edge infer: {remark}", file=sys.stderr)
    model = options.model.model_copy(update={"engine": probed.engine})
    return options.model_copy(update={"model": model})


def _in_order(said: "Iterable[Record]") -> "Iterator[Done | Note]":
    """Yield what is to be told, a failure in its place among the results.

    A file fails when it is read, and that is before those ahead of it are through the model.
    """
    from edge.wire import Done, Note

    failures: deque[Note] = deque()
    try:
        for record in said:
            if isinstance(record, Done):
                while failures and failures[0].details["frame"] < record.frame:
                    yield failures.popleft()
                yield record
            elif isinstance(record, Note) and record.event == "frame_failed":
                failures.append(record)
            elif isinstance(record, Note) and record.event == "not_permitted":
                yield record
    except EdgeError:
        yield from failures
        raise
    yield from failures


def _options(args: argparse.Namespace, files: list[Path]) -> "Pipeline":
    """The same pipeline the daemon would run, over these files."""
    from pydantic import ValidationError

    from edge.config.pipeline import Pipeline

    decode: dict[str, Any] = {"type": args.decode}
    if args.decode == "classification":
        decode["top_k"] = args.top_k
    if args.decode != "raw" and args.threshold is not None:
        decode["threshold"] = args.threshold
    model = {
        "path": args.model,
        "labels": args.labels,
        "engine": args.engine,
        "threads": args.threads,
        "accelerator": _accelerator(args.accelerator),
        "resize": args.resize,
        "interpolation": args.interpolation,
    }
    source = {"type": "images", "path": files}
    batch = {"max_size": args.batch, "max_wait_ms": FILL_MS}
    try:
        return Pipeline.model_validate(
            {"source": source, "model": model, "decode": decode, "batch": batch}
        )
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for details in error.errors():
            place = details["loc"]
            option = next((step for step in reversed(place) if step in vars(args)), place[-1])
            wrong.setdefault(f"--{option}".replace("_", "-"), details["msg"])
        raise ConfigError("; ".join(f"{name}: {why}" for name, why in wrong.items())) from error


def _accelerator(word: str | None) -> str | dict[str, str] | None:
    """Return `accelerator:` of the YAML for `edgetpu`, or for a library by its path or name."""
    return word if word in {None, "edgetpu"} else {"library": str(word)}


def _print_result(done: "Done", *, as_json: bool, whole_path: bool) -> None:
    if as_json:
        found = {
            "input": done.name,
            "predictions": done.predictions,
            "inference_ms": round((done.inferred_ns - done.taken_ns) / 1e6, 3),
            "batch": done.batch,
        }
        print(json.dumps(found, ensure_ascii=False), flush=True)
        return
    if whole_path:
        print(done.name)
    for prediction in done.predictions:
        if "label" in prediction:
            place = f"  at {prediction['x_px']}, {prediction['y_px']}" if "x" in prediction else ""
            named = f"{prediction['index']:5d}  {prediction['label']}"
            print(f"{prediction['score']:8.4f}  {named}{place}")
        else:
            print(f"{prediction['output']} {prediction['shape']}: {prediction['values']}")
    if not done.predictions:
        print("   no score reaches the threshold")


def _print_failure(note: "Note", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"input": note.details["file"], "error": note.message}), flush=True)
    print(f"edge infer: {note.message}", file=sys.stderr)
