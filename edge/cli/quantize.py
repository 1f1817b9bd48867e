"""`edge optimize quantize`: a float model to int8, and what that cost."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.made_model import finish, gain_line
from edge.cli.progress import steps
from edge.cli.workshop_options import (
    CALIBRATION_SAMPLES,
    LONGEST_S,
    add_data_options,
    add_out_options,
    card_head,
    data_of,
    input_of,
)
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.workshop.quantize import Settings

TYPES = ("int8", "uint8", "int16", "float32")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "quantize",
        help="turn a float model into int8",
        description="Quantizes a float model, calibrated on real samples, and says what that cost: "
        "accuracy on samples held out from calibration, agreement with the float model, the layers "
        "that lost most, what stays in float, latency in turns. Keras networks and SavedModels go "
        "through TensorFlow's converter, .tflite files through ai-edge-quantizer.",
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a .keras file, a SavedModel or a float .tflite"
    )
    add_data_options(parser)
    add_out_options(parser)
    parser.add_argument(
        "--ignore-labels", action="store_true", help="judge by agreement and output error alone"
    )
    parser.add_argument(
        "--mode",
        choices=("int8", "int8-weights", "int16x8"),
        default="int8",
        help="weights and activations in int8; weights alone; activations in int16 (default int8)",
    )
    parser.add_argument("--input-type", choices=TYPES, help="(default int8; else float32)")
    parser.add_argument("--output-type", choices=TYPES, help="(default int8; else float32)")
    parser.add_argument(
        "--per-tensor", action="store_true", help="one scale a weight tensor, not one a channel"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=CALIBRATION_SAMPLES,
        metavar="N",
        help="samples of the training part to calibrate on, at most (default %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="N",
        help="time each model so long (default 5; 0: not)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the card")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Quantize, measure, write the folder, and print what was found."""
    from edge.workshop.card import check_out
    from edge.workshop.float_model import open_model
    from edge.workshop.quantize import Settings, card_of, quantize
    from edge.workshop.seeded import repeatable

    settings = Settings(
        mode=args.mode,
        input_type=args.input_type,
        output_type=args.output_type,
        per_channel=not args.per_tensor,
        samples=args.samples,
        seconds=args.seconds,
    )
    _check(settings)
    head = card_head(args, f"{args.model.name}, quantized: {args.mode}")
    check_out(args.out)
    with steps() as on_step:
        on_step("loading TensorFlow", 0)
        repeatable(args.seed)
        model = open_model(args.model)
        form = input_of(args, args.model, model.shape)
        data = data_of(args, form, on_step, labelled=False)
        if args.ignore_labels:
            data = data.without_labels()
        made = quantize(model, form, data, settings, on_step)
        on_step("writing the golden file", 0)
        card, compared = finish(
            args,
            head,
            card_of(made, model, settings),
            tflite=made.tflite,
            network=None,
            form=form,
            data=data,
            classifies=made.classifies,
            repeated={"same_bytes_when_repeated": made.repeated},
        )
    if args.json:
        print(json.dumps(card))
        return 0
    show(card, args.out, head["name"])
    for line in compared:
        print(line)
    return 0


def _check(settings: "Settings") -> None:
    """Find out before any work what will not do."""
    from edge.workshop.convert import end_of

    if settings.samples < 1:
        raise ConfigError("--samples must be at least 1")
    if not 0 <= settings.seconds <= LONGEST_S:
        raise ConfigError(f"--seconds must be from 0 to {LONGEST_S}")
    end_of(settings.mode, "input", settings.input_type)
    end_of(settings.mode, "output", settings.output_type)


def show(card: dict[str, Any], out: Path, name: str) -> None:
    """Print the card's figures for a person."""
    from edge.lab.table import ms

    sizes, latency = card["size_bytes"], card["latency"]
    smaller = sizes["float"] / sizes["quantized"]
    print(f"{out}: {name}.tflite, {card['quantization']['mode']}, and its card")
    print(f"input, output:  {_ends(card['input'])} -> {_ends(card['output'])}")
    print(f"size:           {sizes['float']:,} -> {sizes['quantized']:,} bytes ({smaller:.1f}x)")
    if "accuracy" in card:
        shares = [_score(card["accuracy"][which]) for which in ("float", "quantized")]
        print(f"accuracy:       {shares[0]} -> {shares[1]}, held out")
        print(f"change:         {gain_line(card['accuracy']['change'])}")
    if "agreement" in card:
        print(f"agreement:      {_score(card['agreement']['top_1_same_as_float'])} same top-1")
    for error in card["output_error"]:
        rms, largest = error["rms_error_percent"], error["largest_error"]
        print(f"output error:   {rms} % RMS, {largest:g} at most")
    if isinstance(latency, dict):
        times = [latency[which] for which in ("float", "quantized")]
        p50s, p99s = (" -> ".join(ms(each[key]) for each in times) for key in ("p50_ms", "p99_ms"))
        print(f"latency, P50:   {p50s} ms{_ratio(latency)}, {latency['engine']}")
        print(f"latency, P99:   {p99s} ms")
    print("lost most:      " + _layers(card["worst_layers"]))
    print("left in float:  " + _left(card["left_in_float"]))
    for engine, told in card["runs_on"].items():
        print(f"{engine + ':':15} {told}")
    same = "the same bytes" if card["recipe"]["same_bytes_when_repeated"] else "other bytes"
    print(f"repeated:       {same}")


def _ends(tensors: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['dtype']} {each['shape']}" for each in tensors)


def _score(score: dict[str, Any]) -> str:
    return f"{score['right'] / score['of']:.2%} ({score['right']:,} of {score['of']:,})"


def _ratio(latency: dict[str, Any]) -> str:
    found = latency.get("quantized_to_float")
    return f" (x{found['ratio']}, 95 %: {found['low']} to {found['high']})" if found else ""


def _layers(worst: list[dict[str, Any]]) -> str:
    lines = [
        f"{each['layer']} ({each['operator']}) {each['inherited_percent']} -> "
        f"{each['error_percent']} %"
        for each in worst
    ]
    return "\n                ".join(lines) or "cannot be told: the graphs differ"


def _left(left: Any) -> str:
    if isinstance(left, str):
        return left
    by_reason: dict[str, list[str]] = {}
    for each in left:
        by_reason.setdefault(each["why"], []).append(f"{each['operator']} x{each['count']}")
    lines = [f"{', '.join(operators)}: {why}" for why, operators in by_reason.items()]
    return "\n                ".join(lines)
