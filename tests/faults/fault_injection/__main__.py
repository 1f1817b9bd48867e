"""`python -m fault_injection`: inject faults into a running daemon, and print how it bore them."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fault_injection.plan import KINDS, NAMES, plan
from fault_injection.run import Failed, Run
from fault_injection.scene import Scene, own_mounts

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD_EVERY = 25


def main() -> int:
    """Return 0 where every fault was borne, 1 where one was not, 2 where it cannot begin."""
    arguments = _arguments()
    mosquitto = _tool("mosquitto", "sudo apt install mosquitto")
    compiler = _tool("cc", "sudo apt install gcc libc6-dev")
    names = [name for name in NAMES if not arguments.only or name in arguments.only]
    mounts = own_mounts()
    if not mounts:
        left_out = [kind.name for kind in KINDS if kind.needs_root and kind.name in names]
        names = [name for name in names if name not in left_out]
        print(f"left out, for want of file systems of our own: {', '.join(left_out)}")
        if not names:
            return 2
    seed = arguments.seed
    print(f"seed {seed}, {arguments.faults} faults", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="fault-injection-"))
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all we started ends with us
    patience = arguments.patience
    with Scene(folder, mosquitto, compiler, mounts=mounts, patience=patience) as scene:
        run = Run(scene)
        failure = None
        try:
            run.begin()
            run.go(plan(seed, arguments.faults, names), told=_progress(began))
            run.end()
        except Failed as error:
            failure = run.tell(error)
            for disk in (scene.state.path, scene.runtime.path):
                shutil.copytree(disk, f"{disk}-kept", ignore=shutil.ignore_patterns("ballast"))
        print_table(run, time.monotonic() - began)
    if failure is not None:
        print(f"\n{failure}\n", file=sys.stderr)
        again = f"make test-faults SEED={seed} N={arguments.faults}"
        only = "".join(f" --only {name}" for name in arguments.only)
        print(f"seed {seed}, after {run.done} faults. The same again: {again}"
              + (f' ARGS="{only.strip()}"' if only else ""), file=sys.stderr)  # fmt: skip
        print(f"everything is in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fault_injection", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, metavar="N", help="how many in all")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1_000_000), metavar="SEED"
    )
    parser.add_argument(
        "--only", action="append", default=[], choices=NAMES, metavar="KIND",
        help=f"only this kind of fault; may be given again: {', '.join(NAMES)}",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=1, metavar="FACTOR",
        help="for a slow machine: stretches the 5 s of a recovery, and the watchdog",
    )  # fmt: skip
    return parser.parse_args()


def _tool(name: str, how: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        print(f"{name} is not installed: {how}", file=sys.stderr)
        sys.exit(2)
    return path


def _progress(began: float) -> Callable[[int], None]:
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done // TOLD_EVERY > told:
            told = done // TOLD_EVERY
            print(f"{done} faults, {time.monotonic() - began:.0f} s", flush=True)

    return tell


def print_table(run: Run, seconds: float) -> None:
    """Print how long the daemon took to recover, by kind of fault."""
    print(f"\n{'fault':<18} {'count':>5} {'P50 s':>6} {'P99 s':>6} {'max s':>6}")
    every: list[float] = []
    for kind, found in sorted(run.recoveries.items()):
        every += found
        _print_row(kind, found)
    if every:
        _print_row("all", every)
    each = seconds / max(run.done, 1)
    print(f"{run.done} faults in {seconds:.0f} s, {each:.2f} s each")


def _print_row(kind: str, found: list[float]) -> None:
    ordered = sorted(found)
    p50, p99 = (ordered[min(int(q * len(ordered)), len(ordered) - 1)] for q in (0.5, 0.99))
    print(f"{kind:<18} {len(found):>5} {p50:>6.2f} {p99:>6.2f} {ordered[-1]:>6.2f}")


if __name__ == "__main__":
    sys.exit(main())
