"""What the commands of the workshop do once they have a model: write its folder, show it."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.workshop_options import command_of, pipeline_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.workshop.data import Data, Input

GOLDEN_INPUTS = 512  # held-out samples that are looked at for the golden file
REPEATED = {
    "repeated": "the same command gives the same bytes on one machine; another TensorFlow or kind "
    "of processor may give others"
}


def finish(
    args: argparse.Namespace,
    head: dict[str, Any],
    facts: dict[str, Any],
    *,
    tflite: bytes,
    network: Any,
    form: "Input",
    data: "Data",
    classifies: bool = True,
    repeated: "Mapping[str, Any]" = REPEATED,
) -> tuple[dict[str, Any], list[str]]:
    """Write the model's folder; return its card, and how it compares with one that was there.

    The Keras `network` goes with it, unless it is None; `repeated` is what the recipe says of that.
    """
    from edge.workshop.card import File, read_old, versions, write_folder
    from edge.workshop.evaluate import quantized
    from edge.workshop.golden import golden_file
    from edge.workshop.keras_file import as_keras_file
    from edge.workshop.quantize import changed_since
    from edge.workshop.standing import input_spec

    name = head["name"]
    inputs = quantized(data.test.x[:GOLDEN_INPUTS], input_spec(tflite))
    files = {
        f"{name}.tflite": File("model", tflite),
        f"{name}.golden.npz": File("golden", golden_file(f"{name}.tflite", tflite, inputs)),
    }
    if network is not None:
        files[f"{name}.keras"] = File("network", as_keras_file(network))
    if classifies and data.named and data.classes:
        files["labels.txt"] = File("labels", "".join(f"{n}\n" for n in data.classes).encode())
    card = head | {"pipeline": pipeline_of(form, classifies=classifies)} | facts
    card["data"] = data.card
    card["recipe"] = {
        "command": command_of(args),
        "seed": args.seed,
        **repeated,
        "versions": versions(),
    }
    old = read_old(args.out)
    changed = changed_since(old, card, tflite) if old is not None else None
    write_folder(args.out, card, files)
    return card, [] if old is None else _again(args.out, changed)


def source_of(path: Path) -> dict[str, str]:
    """Return what a card says of a network that the model was made from."""
    return {
        "file": path.name,
        "kind": "keras",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def show(card: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    """Print the card as JSON, or its table of figures between the first line and the others."""
    if as_json:
        print(json.dumps(card))
        return
    first, *others = lines
    print(first)
    print()
    show_figures(card)
    print()
    for line in others:
        print(line)


def show_figures(card: dict[str, Any]) -> None:
    """Print the card's figures, a row for each model."""
    from edge.cli.tables import show_table
    from edge.lab.table import Table, ms

    header = ["network", "mode", "bytes", "packed", "MACs", "accuracy", "right", "P50 ms"]
    header.append("P99 ms")
    rows = [
        [
            each["network"],
            each["mode"],
            f"{each['size_bytes']:,}",
            f"{each['packed_bytes']:,}",
            f"{each['macs']:,}",
            f"{each['right'] / each['of']:.2%}",
            f"{each['right']:,}/{each['of']:,}",
            ms(each["p50_ms"]),
            ms(each["p99_ms"]),
        ]
        for each in card["figures"]
    ]
    show_table(Table(header, rows, left=frozenset({"network", "mode"}), keys=2), "text")


def gain_line(gain: dict[str, Any]) -> str:
    """Return a difference in accuracy with what chance makes of it."""
    won, lost = gain["only_it_right"], gain["only_the_other_right"]
    return (
        f"{gain['points']:+.2f} points (95 %: {gain['interval_95']}; only it right {won}, only the "
        f"other {lost}, p = {gain['p']:g})"
    )


def ratio_line(found: dict[str, float] | None) -> str:
    """Return a ratio of latencies with its interval."""
    if found is None:
        return "measured too shortly to tell"
    told = f"x{found['ratio']} (95 %: {found['low']} to {found['high']})"
    return told if not found["low"] <= 1 <= found["high"] else f"{told}: no difference to tell"


def _again(out: Path, changed: list[str] | None) -> list[str]:
    if changed is None:
        return [f"the model in {out} before had the same bytes"]
    told = changed or ["nothing in its card tells why"]
    return [f"the model in {out} before had other bytes", *(f"  {line}" for line in told)]
