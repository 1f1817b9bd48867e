"""qemu-user: programs of another architecture run here as if they were our own."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
NATIVE = {"arm64": "aarch64", "armhf": "armv7l"}
INTERPRETERS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}


def missing() -> str:
    """Return why ARM programs cannot be tried here, empty where they can."""
    if os.geteuid() != 0:
        return "only root can build a system for another architecture and enter it"
    tools = {
        "debootstrap": "debootstrap",
        "systemd-nspawn": "systemd-container",
        "qemu-arm-static": "qemu-user-static",
    }
    absent = [package for tool, package in tools.items() if not shutil.which(tool)]
    return f"not installed: sudo apt install {' '.join(absent)}" if absent else ""


def register(architecture: str) -> None:
    """Tell the kernel which qemu runs this architecture's programs, where it does not know.

    The registration is qemu's own (binfmt.d(5)); its flag F opens the interpreter at once, so that
    it is there inside of a root that does not have it. Raises OSError where the kernel refuses.
    """
    if platform.machine() == NATIVE[architecture]:
        return
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    name = INTERPRETERS[architecture]
    if (BINFMT / name).exists():
        return
    (BINFMT / "register").write_text(
        Path(f"/usr/lib/binfmt.d/{name}.conf").read_text(encoding="ascii"), encoding="ascii"
    )
