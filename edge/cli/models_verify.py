"""`edge models verify`: whether models are what their cards say, signed, and work here."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.models_options import HERE, add_trust, bundled_models, keys_of, local_folder
from edge.errors import CardError, ConfigError, EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.catalogue.card import Card
    from edge.catalogue.keys import PublicKey
    from edge.config.pipeline import Pipeline

SILENT_LIMIT_S = 120.0  # of a process that opens a model, on a slow device


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "verify",
        help="check models that are here",
        description="Compares each file with its digest in the card, checks the signature where "
        "keys are given, opens the model in a process of its own, and has it prove itself by its "
        "golden answers where it has some. Exit status 1 where anything is wrong.",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="a name or a folder (default: all in ./models, or this project's where there is none)",
    )
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found of each model, a check a line."""
    keys = keys_of(args)
    wrong = 0
    for folder in [local_folder(told) for told in args.models] or _all_here():
        print(folder)
        for name, trouble, says in _checks(folder, keys):
            wrong += trouble
            for line in says.splitlines():
                print(f"  {'problem' if trouble else 'ok':8} {name}: {line}", flush=True)
    return 1 if wrong else 0


def _all_here() -> list[Path]:
    from edge.catalogue.card import CARD

    for folder in (HERE, bundled_models()):
        if found := sorted(path.parent for path in folder.glob(f"*/{CARD}")):
            return found
    raise ConfigError(f"there is no model in {HERE}/, nor among this project's")


def _checks(folder: Path, keys: "Sequence[PublicKey]") -> "Iterator[tuple[str, bool, str]]":
    """Yield the name of each check, whether it found trouble, and what it says."""
    from edge.catalogue.card import CARD, check_files, parse_card, read_card_bytes

    try:
        content = read_card_bytes(folder)
        card = parse_card(content, str(folder / CARD))
    except CardError as error:
        yield "card", True, str(error)
        return
    yield "card", False, f"{card.name} {card.version}, {card.licence}"
    try:
        yield "signature", False, _signature(folder, content, keys)
    except EdgeError as error:
        yield "signature", True, str(error)
    try:
        check_files(card, folder)
    except CardError as error:
        yield "files", True, str(error)
        return
    yield "files", False, f"{len(card.files)}, {card.size_bytes:,} bytes, all as the card says"
    yield from _opens(card, folder)


def _signature(folder: Path, content: bytes, keys: "Sequence[PublicKey]") -> str:
    from edge.catalogue.card import CARD, SIGNATURE, read_card_bytes
    from edge.catalogue.signed import who_signed

    if not keys:
        there = (folder / SIGNATURE).is_file()
        return "there is one, which --key PUBLIC would check" if there else "none"
    signature = read_card_bytes(folder, SIGNATURE)
    verified = who_signed(folder / CARD, content, signature, keys)
    return f"by {verified.key_id}, with the comment {verified.comment!r}"


def _opens(card: "Card", folder: Path) -> "Iterator[tuple[str, bool, str]]":
    """Open the model as a pipeline would, in a worker, and have it compare its golden answers."""
    from edge.errors import GoldenError, GoldenFileError
    from edge.supervisor.trial import records
    from edge.wire import Ready

    try:
        said = records(
            card.name, _pipeline(card, folder), check_only=True, silent_limit_s=SILENT_LIMIT_S
        )
        ready = next(record for record in said if isinstance(record, Ready))
    except (GoldenError, GoldenFileError) as error:
        yield "golden", True, str(error)
        return
    except EdgeError as error:
        yield "model", True, str(error)
        return
    shapes = f"{', '.join(ready.inputs)} -> {', '.join(ready.outputs)}"
    yield "model", False, f"opens in {ready.engine} {ready.engine_version}: {shapes}"
    if ready.golden is not None:
        found = ready.golden
        steps = f"at most {found['worst_steps']:g} steps from the right answers"
        yield "golden", False, f"{found['vectors']:g} inputs, {steps}"


def _pipeline(card: "Card", folder: Path) -> "Pipeline":
    """Return a pipeline that runs it, with any source: no frame will come."""
    from pydantic import ValidationError

    from edge.config.pipeline import Pipeline

    options = {"source": {"type": "synthetic"}, "decode": {"type": "raw"}}
    try:
        return Pipeline.model_validate(options | card.pipeline_options(folder))
    except ValidationError as error:
        details = error.errors()[0]
        place = ".".join(map(str, details["loc"]))
        raise CardError(f"{folder}: its `pipeline`: {place}: {details['msg']}") from error
