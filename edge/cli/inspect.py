"""`edge inspect`: what is in a model file."""

import argparse
import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.engines.model_summary import ModelSummary, TensorSummary

MOST_THREADS = 64  # as in the YAML


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what is in a model file",
        description="Reads a .tflite file without running it: inputs, outputs, operators, "
        "multiply-accumulates (MACs), quantization, state.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file")
    parser.add_argument(
        "--load",
        action="store_true",
        help="load it too, in a process of its own, and run it once on zeros: which operators a "
        "delegate takes, memory added, time",
    )
    parser.add_argument(
        "--engine", choices=("auto", "litert", "tflite-runtime"), help="for --load (default auto)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="for --load (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    from edge.engines.model_file import read_model_file

    if not args.load and (args.engine, args.threads) != (None, None):
        raise ConfigError("--engine and --threads say how to load the model: add --load")
    threads = 1 if args.threads is None else args.threads
    if not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"--threads must be from 1 to {MOST_THREADS}, not {threads}")
    if not args.model.exists():
        raise ConfigError(f"{args.model}: there is no such model file")
    summary = read_model_file(args.model)
    # Only what could be read as a model is given to an interpreter.
    loaded = _load(args.model, args.engine or "auto", threads) if args.load else None
    if args.json:
        found = dataclasses.asdict(summary) | ({} if loaded is None else {"loaded": loaded})
        print(json.dumps(found, default=str))
    else:
        for name, value in _rows(summary) + (_loaded_rows(loaded) if loaded else []):
            print(f"{name + ':':13} {value}")
    return 0


def _load(model: Path, engine: str, threads: int) -> dict[str, Any]:
    """Return the fields of `edge.engines.loading.Loaded`, and the delegate's name."""
    from edge.supervisor.trial import ask

    answer = ask("edge.engines.loading", model, engine, str(threads))
    # The one place where an engine names the delegate that it applies by itself.
    named = re.search(r"Created TensorFlow Lite (\S+) delegate", "\n".join(answer.lines))
    return answer.found | {"delegate": named[1] if named else None}


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
    rows += [
        ("operators", f"{sum(summary.operators.values())}: {_counted(summary.operators)}"),
        ("MACs", _macs(summary)),
        ("fully int8", _yes_or_why(summary)),
        ("Edge TPU", "compiled for it" if summary.edgetpu else "no, a CPU build"),
        ("keeps state", "yes, from one frame to the next" if summary.keeps_state else "no"),
    ]
    if summary.unknown_custom_ops:
        rows.append(("unknown", f"custom operators: {', '.join(summary.unknown_custom_ops)}"))
    if summary.min_runtime_version:
        rows.append(("needs", f"TensorFlow Lite {summary.min_runtime_version} or newer"))
    return rows


def _loaded_rows(loaded: dict[str, Any]) -> list[tuple[str, Any]]:
    threads = f"{loaded['threads']} thread{'s' if loaded['threads'] > 1 else ''}"
    engine = f"{loaded['engine']} {loaded['engine_version']} ({loaded['engine_reason']})"
    rows = [("engine", f"{engine}, {threads}"), *_delegation_rows(loaded)]
    added = loaded["memory_added"]
    if added is None:
        rows.append(("memory added", "this kernel does not tell (it has no /proc/PID/smaps)"))
    else:
        total, file, tensors, code = (_si(size, "B") for size in added["invoked"].values())
        where = f"{tensors} tensors and repacked weights, {file} of the file, {code} engine code"
        rows.append(("memory added", f"{total}: {where}"))
    rows += [
        ("init", f"{loaded['init_ms']:.2f} ms"),
        ("first invoke", f"{loaded['first_invoke_ms']:.2f} ms, on zeros"),
    ]
    return rows


def _delegation_rows(loaded: dict[str, Any]) -> list[tuple[str, str]]:
    found, name = loaded["delegation"], loaded["delegate"] or "a delegate that is not named"
    if found is None:
        return [("delegate", "this version of the engine does not tell which operators run where")]
    taken, left, untold = found["taken"], found["left"], found["untold"]
    total = sum(sum(counts.values()) for counts in (taken, left, untold))
    if not taken:
        name = loaded["delegate"] or "none is applied"
        return [("delegate", f"{name}: the engine's own kernels run all {total} operators")]
    groups = f"{found['groups']} group{'s' if found['groups'] > 1 else ''}"
    rows = [
        ("delegate", f"{name} takes {sum(taken.values())} of {total} operators, in {groups}"),
        ("left behind", _counted(left) or "none"),
    ]
    if untold:
        rows.append(("either", f"{_counted(untold)}: the engine does not tell where it runs"))
    return rows


def _macs(summary: "ModelSummary") -> str:
    """Say how many multiply-accumulates a forward pass makes, and what is not in the number."""
    shares = [
        f"{name} {_si(macs)} ({100 * macs / summary.macs:.1f} %)"
        for name, macs in summary.macs_by_operator.items()
    ]
    parts = [f"{_si(summary.macs)}: {', '.join(shares)}" if shares else "0"]
    if summary.any_size:
        parts.append("at the shapes in the file, which leaves some sizes open")
    if summary.subgraphs > 1:
        parts.append(f"of the first of {summary.subgraphs} subgraphs")
    if summary.uncounted_operators:
        parts.append(f"not counted: {_counted(summary.uncounted_operators)}")
    return "; ".join(parts)


def _yes_or_why(summary: "ModelSummary") -> str:
    if summary.fully_int8:
        return "yes"
    return f"no: {_counted(summary.float_operators)} in float" if summary.float_operators else "no"


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{name} x{count}" for name, count in operators.items())


def _si(value: float, unit: str = "") -> str:
    """Return a number with a prefix, one decimal: `300.8 M`, `4.1 kB`, `0`."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.95 or prefix == "G":  # noqa: PLR2004 - would be shown as 1000.0
            break
        value /= 1000
    return f"{value:.1f} {prefix}{unit}" if prefix else f"{value} {unit}".rstrip()


def _tensor(tensor: "TensorSummary") -> str:
    text = f"{tensor.dtype} {list(tensor.shape)} {tensor.name}"
    if len(tensor.scales) == 1:
        text += f", real = {tensor.scales[0]:.8g} * (q {_signed(-tensor.zero_points[0])})"
    return text


def _signed(value: int) -> str:
    return f"+ {value}" if value >= 0 else f"- {-value}"
