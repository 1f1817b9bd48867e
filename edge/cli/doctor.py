"""`edge doctor`: what is right and wrong with this machine, this installation, this service."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.doctor.examination import Examined
    from edge.doctor.patient import Patient

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}
LEVEL_WIDTH = 9


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is wrong with this machine, and what to do",
        description="Looks at Python, engines, cameras, accelerators, permissions, clock, disk, "
        "heat, the service and, with CONFIG, at the broker and the device YAML. Each line is ok, "
        "warning or problem; what to do stands below it. Exit status: 0 no problem, 1 at least "
        "one, 2 wrong usage.",
    )
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="the device YAML")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine, print, and return whether there is a problem."""
    import json

    from edge.cli.progress import progress
    from edge.doctor.examination import all_checks, examine
    from edge.doctor.report import document

    checks = all_checks()
    found = {}
    with progress("looking", len(checks)) as step:
        for examined in examine(_patient(args.config), checks):
            found[examined.check.name] = examined
            step()
    ordered = [found[check.name] for check in checks]
    told = document(ordered)
    if args.json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        _show(ordered)
        print(
            f"\n{_counted(told['problems'], 'problem')}, {_counted(told['warnings'], 'warning')}, "
            f"{told['ok']} ok"
        )
    return 1 if told["problems"] else 0


def _patient(config: Path | None) -> "Patient":
    """Return this machine, with the device YAML as far as it can be loaded.

    Raises ConfigError when there is no such file.
    """
    from edge.config.load import load
    from edge.doctor.patient import Patient
    from edge.errors import ConfigError

    if config is None:
        return Patient()
    if not config.exists():
        raise ConfigError(f"{config}: there is no such file")
    try:
        return Patient(config=config, device=load(config))
    except ConfigError as error:
        return Patient(config=config, mistakes=tuple(str(error).splitlines()))


def _show(examined: "Iterable[Examined]") -> None:
    """Print the findings by group; in colour at a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    group = ""
    for each in examined:
        if each.findings and each.check.group != group:
            console.print(Text(f"{'' if not group else chr(10)}{each.check.group}", style="bold"))
            group = each.check.group
        for finding in each.findings:
            line = Text("  ").append(f"{finding.level:{LEVEL_WIDTH}}", COLOURS[finding.level])
            console.print(line.append(f"{finding.what}: {finding.says}"))
            if finding.cure:
                indent = " " * (LEVEL_WIDTH + 2)
                console.print(Text(indent).append("do: ", "bold").append(finding.cure))


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' if count != 1 else ''}"
