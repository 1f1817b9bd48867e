"""Measures our loop beside its peers and prints Markdown tables with the aims.

    python -m peers [MODEL.tflite ...]

Each model over each feed of frames in each mode is a table; in it the peers take turns, so that
a noisy machine hits all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parties import Mosquitto

from edge.engines.choose import choose
from edge.errors import EdgeError
from peers.children import ROOT, LeftOutError
from peers.frames import FEEDS, make_frames
from peers.plan import NAMES, PEERS, Setting, take_turn, takes_part
from peers.tables import table

if TYPE_CHECKING:
    from peers.turn import Turns

MODES = ("paced", "fast")
DIGITS = ROOT / "models" / "digits" / "digits.tflite"
MOBILENETS = ("mobilenet_v1_0.25_128_quant.tflite", "mobilenet_v2_1.0_224_quant.tflite")
SHORTEST_S = 1.0  # metrics come every half second at the most, and a turn is two of them
MOST_JPEGS_A_SECOND = 700  # files that the `jpeg` feed keeps ready for as fast as possible


def main() -> int:
    """Measure and print; return 1 when something is missing without which nothing can be done."""
    args = _arguments()
    broker = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if broker is None:
        print("mosquitto is not installed: sudo apt install mosquitto", file=sys.stderr)
        return 1
    missing = [model for model in args.models if not model.is_file()]
    if missing:
        print(f"no such model: {', '.join(map(str, missing))}", file=sys.stderr)
        return 1
    print(_about(args), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        most = round(MOST_JPEGS_A_SECOND * (2 * args.seconds + 5))
        try:
            make_frames(args.pictures, folder, args.feeds, most=most)
        except (LookupError, EdgeError) as error:
            print(error, file=sys.stderr)
            return 1
        with Mosquitto(broker, folder) as mosquitto:
            for setting in _settings(args, folder, mosquitto.port):
                turns, left_out = measure(setting, args.peers, args.turns)
                print(table(setting, turns, left_out), flush=True)
    return 0


def measure(setting: Setting, peers: list[str], count: int) -> tuple[Turns, dict[str, str]]:
    """Let the peers take turns, each time another one first; return theirs and who was left out."""
    taking = [peer for peer in peers if takes_part(peer, setting)]
    turns: Turns = {peer: [] for peer in taking}
    left_out: dict[str, str] = {}
    for turn in range(count):
        for place in range(len(taking)):
            peer = taking[(place + turn) % len(taking)]
            if peer in left_out:
                continue
            print(f"turn {turn + 1} of {count}: {NAMES[peer]}", file=sys.stderr)
            try:
                turns[peer].append(take_turn(peer, setting))
            except LeftOutError as why:
                left_out[peer] = str(why)
                turns.pop(peer)
    return turns, left_out


def _settings(args: argparse.Namespace, folder: Path, port: int) -> list[Setting]:
    paces = {"paced": args.fps, "fast": None}
    base = Setting(Path(), "", folder, None, args.seconds, port)
    return [
        replace(base, model=model, feed=feed, fps=paces[mode])
        for model in args.models
        for feed in args.feeds
        for mode in args.modes
    ]


def _about(args: argparse.Namespace) -> str:
    engine = choose("auto")
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{engine.name} {engine.version}, one thread; frames 1280x720; {args.turns} turns of "
        f"{args.seconds:g} s each; ratios are medians over the turns, with their spread.\n"
    )


def _arguments() -> argparse.Namespace:
    testdata = os.environ.get("EDGE_TESTDATA")
    models = [Path(testdata, "models", name) for name in MOBILENETS] if testdata else [DIGITS]
    parser = argparse.ArgumentParser(
        prog="python -m peers", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("models", nargs="*", type=Path, default=models)
    parser.add_argument(
        "--pictures",
        type=Path,
        default=Path(testdata, "images") if testdata else DIGITS.parent,
        help="folder of pictures that the frames are cut from",
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="of each turn")
    parser.add_argument("--fps", type=float, default=30, help="of the mode `paced`")
    for name, choices, default in (
        ("modes", MODES, MODES),
        ("feeds", FEEDS, ("memory", "mjpeg")),
        ("peers", tuple(PEERS), tuple(PEERS)),
    ):
        parser.add_argument(
            f"--{name}", nargs="+", choices=choices, default=list(default), help="which of them"
        )
    args = parser.parse_args()
    if args.turns < 1 or args.seconds < SHORTEST_S or args.fps <= 0:
        parser.error(f"at least one turn of {SHORTEST_S:g} s, and a rate above 0")
    return args


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
