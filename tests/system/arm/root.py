"""Pristine roots of other architectures, built once and kept."""

import fcntl
import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from system.arm.processor import QEMU, cpuinfo
from system.arm.system import CHECKOUT, Failed, System, fresh
from system.arm.targets import Target
from system.container import MIRROR, ROOTS

BASE = "ca-certificates,python3"
"""Less than any Raspberry Pi OS has: what is missing the installer must bring."""
UNAME = Path(__file__).with_name("uname.c")
LIBRARY, PRELOADED = "/usr/local/lib/uname.so", "/etc/ld.so.preload"
CPUINFO = "/usr/local/lib/cpuinfo"
PACKAGES = "/var/lib/edge-runtime-test-packages"
"""Lists what apt was asked for when the root was built."""
INSTALLER = "/checkout/systemd/install.sh"
APT_LIMIT_S = 3600


@contextmanager
def system(target: Target, log: Path, say: Callable[[str], None]) -> Iterator[System]:
    """Give a fresh system as `target` has it, and forget it afterwards."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / f"{target.root}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = _pristine(target, log, say)
        library = None if target.machine == target.qemu_machine else _uname(target, root, log)
    with fresh(root, log) as one:
        one.write(CPUINFO, cpuinfo(target.machine).encode())
        one.before = f"mount --bind {CPUINFO} /proc/cpuinfo\n"
        one.set_variable("QEMU_CPU", QEMU[target.architecture])
        one.set_variable("EDGE_WORKER_ENVIRONMENT", "QEMU_CPU")
        if library is not None:
            one.write(LIBRARY, library.read_bytes())
            one.write(PRELOADED, f"{LIBRARY}\n".encode())
        yield one


def _pristine(target: Target, log: Path, say: Callable[[str], None]) -> Path:
    """Return the target's root, with all that the installer asks of apt: unpacking that is slow."""
    root, part = ROOTS / target.root, ROOTS / f"{target.root}.part"
    shutil.rmtree(part, ignore_errors=True)
    began = time.monotonic()
    if not root.is_dir():
        say(f"building {root} by debootstrap: minutes, once")
        _do(
            *("debootstrap", f"--arch={target.architecture}", "--variant=minbase"),
            *(f"--include={BASE}", target.suite, str(part), MIRROR),
        )
        part.rename(root)
    packages = "" if target.refused else System(root, log).run(f"{INSTALLER} --packages").strip()
    listed = root / PACKAGES.lstrip("/")
    if packages and (not listed.exists() or listed.read_text(encoding="utf-8") != packages):
        say(f"asking apt for {packages}: minutes, once")
        _do("cp", "-a", "--reflink=auto", str(root), str(part))
        System(part, log).run(
            "apt-get update -qq && "
            f"apt-get install -y -qq --no-install-recommends "
            f"-o Dpkg::Options::=--force-unsafe-io {packages} && apt-get clean",
            limit_s=APT_LIMIT_S,
        )
        (part / listed.relative_to(root)).write_text(packages, encoding="utf-8")
        shutil.rmtree(root)
        part.rename(root)
    if (took_s := time.monotonic() - began) > 10:
        say(f"the root was built in {took_s:.0f} s")
    return root


def _uname(target: Target, root: Path, log: Path) -> Path:
    """Return a library that makes every program of the system believe in another kernel.

    It is compiled in a system of its own, for the one that is tried has no compiler.
    """
    source = hashlib.sha256(UNAME.read_bytes()).hexdigest()[:8]
    kept = ROOTS / f"{root.name}.{target.machine}.{source}.so"
    if not kept.exists():
        with fresh(root, log) as workshop:
            workshop.run(
                "apt-get update -qq && apt-get install -y -qq "
                "--no-install-recommends tcc binutils && "
                f"tcc -c -DMACHINE='\"{target.machine}\"' -o /uname.o "
                f"/checkout/{UNAME.relative_to(CHECKOUT)} && ld -shared -o /uname.so /uname.o",
                limit_s=APT_LIMIT_S,
            )
            shutil.copyfile(workshop.path("/uname.so"), kept)
    return kept


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
