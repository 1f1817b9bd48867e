"""`edge optimize prune`: a trained network with fewer weights or channels, and what that cost."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.made_model import finish, gain_line, ratio_line, show, source_of
from edge.cli.progress import steps
from edge.cli.workshop_options import (
    add_data_options,
    add_out_options,
    add_training_options,
    card_head,
    check_training_options,
    data_of,
    input_of,
)
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.workshop.prune_settings import Settings

EPOCHS, ROUNDS = 60, 3
TOLD_LAYERS = 12
SEPARATOR = "\n              "
NO_FASTER = (
    "Zeros let the file pack smaller; it runs no faster, for the engine multiplies by them as by "
    "any number.\nA network that is faster comes of --structured."
)


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "prune",
        help="remove the weakest weights or channels of a network",
        description="Prunes a trained Keras network while it is fine-tuned, converts it to int8, "
        "and says what that cost: accuracy on held-out samples, size, latency in turns, before and "
        "after. Without --structured single weights become zero: the file packs smaller, and is "
        "no faster. With it whole channels go: the network is really smaller and faster.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a trained network, .keras")
    add_data_options(parser)
    add_out_options(parser)
    parser.add_argument(
        "--structured", action="store_true", help="remove whole channels, not single weights"
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="the share of each layer's weights, or channels, that goes (default %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"with --structured: remove in so many rounds, fine-tuning after each (default "
        f"{ROUNDS})",
    )
    parser.add_argument(
        "--scope",
        choices=("layer", "global"),
        help="without --structured: weigh each layer's weights alone, or all together (default "
        "layer)",
    )
    add_training_options(parser, epochs=EPOCHS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prune, measure, write the folder, and print what was found."""
    from edge.workshop.card import check_out
    from edge.workshop.network import check_network_file, load_network
    from edge.workshop.seeded import repeatable

    _refuse_idle_options(args)
    check_training_options(args)
    settings = _settings(args)
    kind = "channels" if args.structured else "weights"
    head = card_head(args, f"{args.model.name} without {args.sparsity:.0%} of its {kind}, int8")
    check_out(args.out)
    check_network_file(args.model)
    with steps() as on_step:
        on_step("loading TensorFlow", 0)
        repeatable(args.seed)
        from edge.workshop.prune import card_of, prune

        network = load_network(args.model)
        form = input_of(args, args.model, network.inputs[0].shape[1:])
        data = data_of(args, form, on_step)
        made = prune(network, form, data, settings, on_step)
        on_step("writing the model", 0)
        card, again = finish(
            args,
            head,
            {"source": source_of(args.model)} | card_of(made, settings),
            tflite=made.tflite,
            network=made.what.network,
            form=form,
            data=data,
        )
    show(card, [*_lines(card, args.out), *again], as_json=args.json)
    return 0


def _refuse_idle_options(args: argparse.Namespace) -> None:
    if args.structured and args.scope is not None:
        raise ConfigError("--scope does not go with --structured")
    if not args.structured and args.rounds is not None:
        raise ConfigError("--rounds goes with --structured")


def _settings(args: argparse.Namespace) -> "Settings":
    from edge.workshop.prune_settings import Settings

    settings = Settings(
        structured=args.structured,
        sparsity=args.sparsity,
        epochs=args.epochs,
        rounds=ROUNDS if args.rounds is None else args.rounds,
        scope=args.scope or "layer",
        samples=args.samples,
        seconds=args.seconds,
    )
    settings.check()
    return settings


def _lines(card: dict[str, Any], out: Path) -> list[str]:
    """Return what is told around the table."""
    pruning, latency = card["pruning"], card["latency"]
    before, after = pruning["parameters"]["before"], pruning["parameters"]["after"]
    name = card["name"]
    lines = [f"{out}: {name}.tflite (int8), {name}.keras, and their card"]
    if "rounds" in pruning:
        lines += [
            f"channels:     {_layers(card['layers'], 'channels_before', 'channels_after', ' -> ')}",
            f"parameters:   {before:,} -> {after:,}",
        ]
    else:
        zeros = sum(each["zeros"] for each in card["layers"])
        lines += [
            f"zeros:        {_layers(card['layers'], 'zeros', 'weights', ' of ')}",
            f"altogether:   {zeros / before:.1%} of {before:,} parameters are zero",
        ]
    if isinstance(pruning["left_whole"], dict):
        told = (f"{name} ({why})" for name, why in pruning["left_whole"].items())
        lines.append(f"left whole:   {SEPARATOR.join(told)}")
    chance = " - no more than chance" if card["compared"]["within_chance"] else ""
    lines += [
        f"accuracy:     int8 {gain_line(card['compared']['accuracy'])}{chance}",
        f"latency, P50: int8 {ratio_line(latency['int8_pruned_to_before'])}",
        f"              float {ratio_line(latency['float_pruned_to_before'])}",
        f"              {latency['engine']}",
    ]
    found = latency["int8_pruned_to_before"]
    if "rounds" not in pruning and found is not None and found["high"] >= 1:
        lines.append(NO_FASTER)
    return lines


def _layers(layers: list[dict[str, Any]], one: str, other: str, between: str) -> str:
    told = [f"{each['layer']} {each[one]:,}{between}{each[other]:,}" for each in layers]
    if len(told) > TOLD_LAYERS:
        told = [*told[: TOLD_LAYERS - 1], f"and {len(told) - TOLD_LAYERS + 1} more, in the card"]
    return SEPARATOR.join(told)
