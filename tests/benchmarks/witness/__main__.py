"""Lets MLPerf LoadGen drive our loop and prints its percentiles beside ours, as Markdown.

    python -m witness [MODEL.tflite]

The aim: P50, P90 and P99 of the same frames agree within 2 %, with the worker stopped dead for
200 ms every 2 s, too. The call across costs LoadGen some 0.2 ms: take a model of 10 ms or more.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from peers.children import ROOT

from edge.engines.choose import DISTRIBUTIONS, installed
from witness.system import System

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from witness.loadgen import Witnessed

AGREE = 0.02
DIGITS = ROOT / "models" / "digits" / "digits.tflite"
MOBILENET = "mobilenet_v2_1.0_224_quant.tflite"
BUSY = 0.5  # how much of its time the scenario Server keeps the model busy, where not told
COLUMNS = (
    "scenario",
    "stalls",
    "queries",
    "P50 LoadGen / ours, ms",
    "P90",
    "P99",
    "largest difference",
    "call across, P50 ms",
)


def main() -> int:
    """Measure and print; return 1 when a query was not answered or counted by both."""
    args = _arguments()
    try:
        from witness.loadgen import witness
    except ImportError:
        print("LoadGen is not installed: pip install mlcommons-loadgen", file=sys.stderr)
        return 1
    sys.setswitchinterval(50e-6)  # the threads here wait for one another, and are measured
    model = {"path": args.model, "engine": args.engine, "threads": 1}
    all_counted = True
    with System(model, {"type": args.decode}, args.pictures) as system:
        qps = args.qps or BUSY * 1e3 / system.usual_ms
        print(
            f"{args.model.stem} on {system.engine}, one thread, {system.usual_ms:.2f} ms; "
            f"{args.seconds:g} s a scenario; Server asks {qps:.1f} times a second\n"
        )
        print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n", flush=True)
        for stalls in (each == "on" for each in args.stalls):
            for scenario in args.scenarios:
                said = witness(system, scenario, seconds=args.seconds, qps=qps, stalls=stalls)
                print(_row(_cells(scenario, said)), flush=True)
                if said.queries != said.answered:
                    print(f"but {said.answered} were answered by our count", file=sys.stderr)
                    all_counted = False
    return 0 if all_counted else 1


def _cells(scenario: str, said: Witnessed) -> Iterator[str]:
    yield from (scenario, f"{said.stalls}", f"{said.queries}")
    for percentile, loadgen_ms in said.loadgen_ms.items():
        ours_ms = said.ours_ms[percentile]
        yield f"{loadgen_ms:.3f} / {'-' if ours_ms is None else f'{ours_ms:.3f}'}"
    largest = said.largest_difference
    yield "-" if largest is None else f"{largest:.2%}" + (", too much" if largest > AGREE else "")
    yield f"{said.across_ms:.3f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    testdata = os.environ.get("EDGE_TESTDATA")
    slow = [name for name in installed() if name != "litert"]
    parser = argparse.ArgumentParser(
        prog="python -m witness", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "model",
        nargs="?",
        type=Path,
        default=Path(testdata, "models", MOBILENET) if testdata else DIGITS,
    )
    parser.add_argument(
        "--engine",
        choices=list(DISTRIBUTIONS),
        default=(slow or ["litert"])[0],
        help="the slower one where both are installed, so that the call across counts for little",
    )
    parser.add_argument("--decode", choices=["classification", "raw"], default="classification")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path(testdata, "images") if testdata else DIGITS.parent,
        help="folder of pictures that the frames are cut from",
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each scenario")
    parser.add_argument("--qps", type=float, help="mean rate of queries in the scenario Server")
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=["SingleStream", "Server"],
        default=["SingleStream", "Server"],
    )
    parser.add_argument("--stalls", nargs="+", choices=["off", "on"], default=["off", "on"])
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(str(error))
