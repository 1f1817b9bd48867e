"""How long the kernel lets a thread run while another wants its core."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

SPIN_S = 0.4
USUAL_NS = 4e6  # a tick of the kernels of Debian and Raspberry Pi OS (CONFIG_HZ=250)
FEWEST = 5  # turns, to tell how long they are
# Looks at the clock until the time is over, and prints how long it did so without a pause.
TAKE_TURNS = f"""
import os, sys, time
os.sched_setaffinity(0, {{int(sys.argv[1])}})
began = last = time.perf_counter_ns()
end = began + {SPIN_S * 1e9:.0f}
while last < end:
    now = time.perf_counter_ns()
    if now - last > 300_000:
        print(last - began)
        began = now
    last = now
"""


def slice_ns() -> float:
    """Return how long two threads that share a core run in turn, by trying it.

    Where it cannot be tried, what is usual.
    """
    core = str(max(os.sched_getaffinity(0)))
    command = [sys.executable, "-S", "-c", TAKE_TURNS, core]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    turns = [int(turn) for one in both for turn in one.communicate()[0].split()]
    return statistics.median(turns) if len(turns) >= FEWEST else USUAL_NS
