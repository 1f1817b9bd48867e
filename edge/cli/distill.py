"""`edge optimize distill`: a small network that learns from a large one, and what that brought."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.made_model import finish, gain_line, show, source_of
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

if TYPE_CHECKING:
    from edge.workshop.distill_settings import Settings

EPOCHS, TEMPERATURE, ALPHA = 100, 3.0, 0.3


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "distill",
        help="train a small network by a large one, then quantize it",
        description="Trains a small Keras network by the answers of a large, trained one, converts "
        "it to int8, and says whether that brought anything: beside it the same student is trained "
        "without a teacher, from the same weights, on the same batches, for as many epochs.",
    )
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="FILE", help="a trained network, .keras"
    )
    parser.add_argument(
        "--student", type=Path, required=True, metavar="FILE", help="a smaller network, .keras"
    )
    add_data_options(parser)
    add_out_options(parser)
    parser.add_argument(
        "--temperature",
        type=float,
        default=TEMPERATURE,
        metavar="T",
        help="softens the answers that are compared (default %(default)s)",
    )
    parser.add_argument(
        "--alpha",
        type=float,
        default=ALPHA,
        metavar="A",
        help="weight of the true classes; the teacher's answers have 1 - A (default %(default)s)",
    )
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="TEACHER=STUDENT",
        help="let these two layers, by name, give alike; can be given several times",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="draw the student's weights anew, by the seed"
    )
    add_training_options(parser, epochs=EPOCHS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Distill, measure, write the folder, and print what was found."""
    from edge.workshop.card import check_out
    from edge.workshop.network import check_network_file, load_network
    from edge.workshop.seeded import repeatable

    check_training_options(args)
    settings = _settings(args)
    head = card_head(args, f"{args.student.name} distilled from {args.teacher.name}, int8")
    check_out(args.out)
    for path in (args.teacher, args.student):
        check_network_file(path)
    with steps() as on_step:
        on_step("loading TensorFlow", 0)
        repeatable(args.seed)
        from edge.workshop.distill import card_of, distill

        teacher, student = load_network(args.teacher), load_network(args.student)
        form = input_of(args, args.student, student.inputs[0].shape[1:])
        data = data_of(args, form, on_step)
        made = distill(teacher, student, form, data, settings=settings, on_step=on_step)
        on_step("writing the model", 0)
        facts = {"source": source_of(args.student), "teacher": source_of(args.teacher)}
        card, again = finish(
            args,
            head,
            facts | card_of(made, settings),
            tflite=made.tflite,
            network=made.student,
            form=form,
            data=data,
        )
    show(card, [*_lines(card, args.out), *again], as_json=args.json)
    return 0


def _settings(args: argparse.Namespace) -> "Settings":
    from edge.workshop.distill_settings import Settings, pairs

    settings = Settings(
        temperature=args.temperature,
        alpha=args.alpha,
        features=pairs(args.feature),
        epochs=args.epochs,
        fresh=args.fresh,
        seed=args.seed,
        samples=args.samples,
        seconds=args.seconds,
    )
    settings.check()
    return settings


def _lines(card: dict[str, Any], out: Path) -> list[str]:
    """Return what is told around the table."""
    name, compared = card["name"], card["compared"]
    best = card["distillation"]["best_epoch"]
    told = ", ".join(f"{which} {epoch}" for which, epoch in best.items())
    return [
        f"{out}: {name}.tflite (int8), {name}.keras, and their card",
        f"best epoch:   {told} of {card['distillation']['epochs']}",
        f"distilling:   float {gain_line(compared['float'])}",
        f"              int8  {gain_line(compared['int8'])}",
        verdict(compared["int8"], within_chance=compared["within_chance"]),
    ]


def verdict(gain: dict[str, Any], *, within_chance: bool) -> str:
    """Say plainly what the teacher brought."""
    if within_chance:
        return "Distilling brought nothing here: the difference is no more than chance makes."
    if gain["points"] < 0:
        return "Distilling did harm: the student alone is better, and not by chance."
    return f"Distilling brought {gain['points']:.2f} points, more than chance would."
