"""The processor that a system sees: qemu's, and a description of it as a Raspberry Pi's kernel has.

Under qemu-user /proc/cpuinfo is the host's. LiteRT looks there for ARM cores, finds none, and
crashes when it opens a model (its library cpuinfo; ai-edge-litert 2.3.0, qemu 7.2).
"""

import os

QEMU = {"arm64": "cortex-a72", "armhf": "cortex-a7"}
"""The processors of the Pi 4 and the Pi 2 as qemu calls them ($QEMU_CPU).

By itself qemu takes `max`, with every instruction that it knows. No Pi has those, and with them
LiteRT's answers are wrong under qemu 7.2: the digits are right in 30 of 100.
"""

V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
V8 = "fp asimd evtstrm crc32 cpuid"
# Features, architecture, part and revision of a core; the board.
DESCRIBED = {
    "armv6l": ("half thumb fastmult vfp edsp java tls", 7, "0xb76", 7, "Raspberry Pi Zero Rev 1.3"),
    "armv7l": (V7, 7, "0xc07", 5, "Raspberry Pi 2 Model B Rev 1.1"),
    "aarch64": (V8, 8, "0xd08", 3, "Raspberry Pi 4 Model B Rev 1.1"),
}


def cpuinfo(machine: str) -> str:
    """Return /proc/cpuinfo of a Pi whose kernel says `machine`, with as many cores as there are."""
    features, architecture, part, revision, board = DESCRIBED[machine]
    cores = [
        f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n"
        f"CPU implementer\t: 0x41\nCPU architecture: {architecture}\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part}\nCPU revision\t: {revision}\n"
        for core in range(os.cpu_count() or 1)
    ]
    return "\n".join([*cores, f"Hardware\t: BCM2835\nModel\t\t: {board}\n"])
