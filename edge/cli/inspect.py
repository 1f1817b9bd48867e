"""`edge inspect`: what is in a model file."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.engines.model_summary import ModelSummary, TensorSummary


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what is in a model file",
        description="Reads a .tflite file without running it: inputs, outputs, operators, "
        "quantization, state.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    from edge.engines.model_file import read_model_file

    if not args.model.exists():
        raise ConfigError(f"{args.model}: there is no such model file")
    summary = read_model_file(args.model)
    if args.json:
        print(json.dumps(dataclasses.asdict(summary), default=str))
    else:
        for name, value in _rows(summary):
            print(f"{name + ':':13} {value}")
    return 0


def _rows(summary: "ModelSummary") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("model", summary.path),
        ("size", f"{summary.size_bytes:,} bytes, {summary.parameters_bytes:,} of them weights"),
        ("sha256", summary.sha256),
    ]
    if summary.description:
        rows.append(("description", summary.description))
    rows += [("input", _tensor(tensor)) for tensor in summary.inputs]
    rows += [("output", _tensor(tensor)) for tensor in summary.outputs]
    counted = [f"{name} x{count}" for name, count in summary.operators.items()]
    rows += [
        ("operators", f"{sum(summary.operators.values())}: {', '.join(counted)}"),
        ("fully int8", _yes_or_why(summary)),
        ("Edge TPU", "compiled for it" if summary.edgetpu else "no, a CPU build"),
        ("keeps state", "yes, from one frame to the next" if summary.keeps_state else "no"),
    ]
    if summary.unknown_custom_ops:
        rows.append(("unknown", f"custom operators: {', '.join(summary.unknown_custom_ops)}"))
    if summary.min_runtime_version:
        rows.append(("needs", f"TensorFlow Lite {summary.min_runtime_version} or newer"))
    return rows


def _yes_or_why(summary: "ModelSummary") -> str:
    if summary.fully_int8:
        return "yes"
    counted = [f"{name} x{count}" for name, count in summary.float_operators.items()]
    return f"no: {', '.join(counted)} in float" if counted else "no"


def _tensor(tensor: "TensorSummary") -> str:
    text = f"{tensor.dtype} {list(tensor.shape)} {tensor.name}"
    if len(tensor.scales) == 1:
        text += f", real = {tensor.scales[0]:.8g} * (q {_signed(-tensor.zero_points[0])})"
    return text


def _signed(value: int) -> str:
    return f"+ {value}" if value >= 0 else f"- {-value}"
