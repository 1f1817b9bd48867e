"""`edge init`: a first device YAML for this machine, that runs."""

import argparse
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.doctor.model_facts import ModelFacts
    from edge.doctor.survey import Survey

MODEL = "models/digits/digits.tflite"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "init",
        help="look at this machine and write a device YAML for it",
        description="Looks for cameras, accelerators, serial ports, engines and a broker, and "
        "writes a commented device YAML that passes `edge check`. Secrets are never written.",
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        default=Path("device.yaml"),
        metavar="FILE",
        help="what to write (default: %(default)s)",
    )
    parser.add_argument(
        "--broker",
        metavar="HOST",
        help="the broker: a host, `HOST:PORT`, a URL, or `embedded` (default: this machine's or "
        "homeassistant.local, where one of them answers, else embedded)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="PATH", help="a .tflite file (default: the demo's digits)"
    )
    parser.add_argument("--device", metavar="NAME", help="the device's name (default: the host's)")
    parser.add_argument("--force", action="store_true", help="write over FILE where it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look around, draft, check the draft, and write it."""
    from edge.bundled_files import bundled
    from edge.config.mqtt import topic_level
    from edge.doctor.draft import draft
    from edge.doctor.model_facts import model_facts
    from edge.doctor.patient import Patient
    from edge.doctor.survey import look_around
    from edge.errors import ConfigError

    file: Path = args.file
    folder = file.absolute().parent
    if not args.force and file.exists():
        raise ConfigError(f"{file}: is there already; --force writes over it")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    if args.model is not None and not args.model.exists():
        raise ConfigError(f"{args.model}: there is no such model file")
    name = args.device or socket.gethostname()
    try:
        topic_level(name)
    except ValueError as error:
        raise ConfigError(f"--device: {error}") from None
    model = model_facts(args.model or bundled(MODEL))
    survey = look_around(Patient(), args.broker)
    text = draft(survey, model, device=name, folder=folder, of_the_demo=args.model is None)
    _check(text, file)
    with file.open("w" if args.force else "x", encoding="utf-8") as written:
        written.write(text)
    _tell(file, survey, model)
    return 0


def _check(text: str, file: Path) -> None:
    """See that it loads and that the model runs. Raises EdgeError where `edge check` fails."""
    from edge.config.load import load
    from edge.doctor.device_file import look_through
    from edge.errors import ConfigError, EdgeError

    with tempfile.NamedTemporaryFile(
        "w", dir=file.absolute().parent, prefix=".edge-init-", suffix=".yaml", encoding="utf-8"
    ) as tried:
        tried.write(text)
        tried.flush()
        path = Path(tried.name)
        try:
            problems = look_through(path, load(path)).problems
        except ConfigError as error:
            problems = str(error).splitlines()
    if problems:
        told = "\n".join(problems).replace(str(path), str(file))
        raise EdgeError(f"nothing was written, for it would not pass `edge check`:\n{told}")


def _tell(file: Path, survey: "Survey", model: "ModelFacts") -> None:
    """Say what was found and what comes next."""
    broker = survey.broker
    found = {
        "camera": ", ".join(f"{each.path} ({each.name})" for each in survey.cameras),
        "accelerator": ", ".join(f"Edge TPU on {each.bus.upper()}" for each in survey.edge_tpus),
        "serial": ", ".join(map(str, survey.ports)),
        "engine": ", ".join(f"{name} {version}" for name, version in survey.engines.items()),
        "broker": ""
        if broker is None
        else f"{broker.url}{f': {broker.trouble}' if broker.trouble else ''}",
        "model": f"{model.path.name} ({model.outputs}), decoded as {model.decoder.type}",
        "labels": str(model.labels) if model.labels else "",
    }
    for what, there in found.items():
        print(f"{what + ':':13} {there or 'none found'}")
    print(f"{file} is written, and passes `edge check`. Look at it, then:")
    print(f"  edge doctor {file}\n  edge run {file}\n  sudo edge service install {file}")
