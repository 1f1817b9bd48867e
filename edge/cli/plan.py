"""`edge plan`: whether the pipelines of a device YAML fit on this device, before they run."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.tables import show_table
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.lab.plan_report import PlanReport

LONGEST_S = 3600
START_S = 1.5  # what a worker takes to be warm, roughly
LARGEST_SEED = (1 << 63) - 1
UNKNOWN = (
    "A plan knows what was measured just now: other processes that start later, heat and a "
    "throttled clock, another light before the camera are not in it."
)


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "plan",
        help="foretell whether the pipelines fit on this device",
        description="Measures each pipeline of a device YAML alone, as `edge run` would run it but "
        "without a broker, and simulates all of them side by side: how busy engines and cores "
        "will be, which latencies, misses and drops to expect, and how much room is left.",
        epilog="exit status: 0 it fits, 1 it does not (or could not be measured), 2 wrong usage or "
        "configuration",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the device YAML")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="N",
        help="measure each pipeline so long (default 5)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the simulation (default 1)"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="then run all pipelines at once, for as long, and show what they did beside the plan",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, foretell, and say it; 1 when it does not fit."""
    from edge.cli.progress import progress
    from edge.config.load import load
    from edge.lab.machine import this_machine
    from edge.lab.plan import Planner
    from edge.lab.plan_report import make_plan_report
    from edge.supervisor.clock import utc

    if not 0 < args.seconds <= LONGEST_S:
        raise ConfigError(
            f"--seconds must be more than 0 and at most {LONGEST_S}, not {args.seconds:g}"
        )
    if not 0 <= args.seed <= LARGEST_SEED:
        raise ConfigError(f"--seed must be a number from 0 to {LARGEST_SEED}, not {args.seed}")
    device = load(args.config)
    steps = len(device.pipelines) + args.verify
    what = f"{len(device.pipelines)} pipeline{'s' if len(device.pipelines) > 1 else ''}"
    then = f", then all at once for {args.seconds:g} s" if args.verify else ""
    about_s = round(steps * (args.seconds + START_S))
    told = f"{what}, {args.seconds:g} s each alone{then}: about {about_s} s"
    print(told, file=sys.stderr, flush=True)
    with progress("measuring", steps) as advance:
        planner = Planner(
            device,
            seconds=args.seconds,
            said=lambda words: print(words, file=sys.stderr, flush=True),
            on_step=advance,
        )
        plan = planner.plan(seed=args.seed)
        found = planner.run() if args.verify else None
    report = make_plan_report(
        plan, found, at=utc(), seconds=args.seconds, seed=args.seed, machine=this_machine()
    )
    if args.json:
        print(json.dumps(report.model_dump(mode="json")))
    else:
        _show(report)
    return 0 if report.fits else 1


def _show(report: "PlanReport") -> None:
    from edge.engines.choose import in_words
    from edge.lab.plan_report import plan_table, sentences

    print(f"{report.machine}\n")
    for each in report.pipelines:
        engine = in_words(f"{each.engine} {each.engine_version}", each.threads)
        print(f"{each.pipeline}: {each.model} on {engine} ({each.engine_reason})")
    print("\ntimes in milliseconds, from capture to result; shares of all frames that fall due")
    show_table(plan_table(report), "text")
    print()
    for sentence in sentences(report):
        print(sentence)
    print(UNKNOWN)
