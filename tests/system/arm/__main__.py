"""`python -m system.arm [SYSTEM...]`: try the project on ARM systems, and say what came of it."""

import argparse
import os
import signal
import sys
import time

from system.arm import checks, emulation
from system.arm.root import system
from system.arm.system import Failed
from system.arm.targets import TARGETS, Target
from system.container import ROOTS


def main() -> int:
    """Try each system that is named, or all; 1 when one of them fails."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(
        prog="make test-arm", description=f"Roots are kept in {ROOTS} ($EDGE_TEST_ROOTS)."
    )
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(names))
    chosen = parser.parse_args().systems or names
    if unknown := set(chosen).difference(names):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    if why := emulation.missing():
        print(f"test-arm is skipped: {why}", flush=True)
        return int(os.environ.get("CI") == "true")
    # Ended from outside, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ended = {target.name: _try(target) for target in TARGETS if target.name in chosen}
    print(*(f"{name}: {how}" for name, how in ended.items()), sep="\n")
    return int(any(how.startswith("FAILED") for how in ended.values()))


def _try(target: Target) -> str:
    """Take a system through the steps; return how it ended."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    log = ROOTS / f"{target.name}.log"
    log.write_text("", encoding="utf-8")
    print(f"== {target.name}, every word of it in {log}", flush=True)
    began = time.monotonic()
    step = "its root"
    try:
        emulation.register(target.architecture)
        with system(target, log, _say) as device:
            for check in (checks.refuses,) if target.refused else checks.STEPS:
                step, at = check.__name__.replace("_", " "), time.monotonic()
                print(f"-- {step}", flush=True)
                check(device, target, _say)
                print(f"   {time.monotonic() - at:.0f} s", flush=True)
    except (Failed, OSError) as error:
        _say(str(error))
        return f"FAILED in: {step}; {log} has all of it"
    return f"right, {time.monotonic() - began:.0f} s"


def _say(said: str) -> None:
    print("\n".join(f"   {line}" for line in said.splitlines()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
