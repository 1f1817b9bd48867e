"""The place of a worker among the device's processes, and how deep the cores may sleep."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edge.config.cpu import Cpu
from edge.supervisor import idle
from edge.supervisor.idle import WakeUpLimit
from edge.worker.cpu import take_place

CORE = min(os.sched_getaffinity(0))
NO_RIGHTS = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"


def in_a_process(options: str, ask: str, *, rights: bool = True) -> str:
    """What a process finds out about itself after it took the place that it was given."""
    before = "" if rights else NO_RIGHTS
    code = (
        "import os\nfrom edge.config.cpu import Cpu\nfrom edge.worker.cpu import take_place\n"
        f"{before}refused = list(take_place(Cpu({options})))\nprint({ask})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_the_worker_keeps_to_the_cores_it_was_given() -> None:
    found = in_a_process(f"affinity=[{CORE}]", "refused, os.sched_getaffinity(0)")
    assert found == f"[] {{{CORE}}}"


def test_a_lower_share_of_the_cores_is_always_granted() -> None:
    found = in_a_process("nice=19", "refused, os.getpriority(os.PRIO_PROCESS, 0)", rights=False)
    assert found == "[] 19"


def test_cores_that_are_not_there_are_told_and_the_pipeline_runs_on() -> None:
    (sentence,) = take_place(Cpu(affinity=[1023]))
    assert "`cpu.affinity: [1023]` was not granted: invalid argument" in sentence


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("scheduling='fifo', priority=7", "`cpu.scheduling: fifo` was not granted: "),
        ("nice=-5", "`cpu.nice: -5` was not granted: "),
    ],
)
def test_without_the_right_to_it_a_wish_is_told_with_what_grants_it(
    options: str, told: str
) -> None:
    sentence = in_a_process(options, "*refused", rights=False)
    assert sentence.startswith(told)
    assert "in the unit grants it" in sentence


def test_by_default_nothing_is_changed() -> None:
    assert in_a_process("", "refused, os.sched_getscheduler(0) == os.SCHED_OTHER") == "[] True"


def test_the_limit_is_asked_of_the_kernel_for_as_long_as_it_is_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    monkeypatch.setattr(idle, "DEVICE", str(device))
    with WakeUpLimit(50) as limit:
        assert limit.refusal == ""
        assert device.read_bytes() == struct.pack("i", 50)
        assert device in opened()
    assert device not in opened()


def opened() -> list[Path]:
    """The files this process holds open."""
    return [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_a_limit_that_is_not_granted_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(idle, "DEVICE", str(tmp_path / "absent"))
    with WakeUpLimit(50) as limit:
        assert "`wake_up_limit_us: 50` was not granted" in limit.refusal
        assert "no such file" in limit.refusal


def test_without_a_limit_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "DEVICE", "/nowhere")
    with WakeUpLimit(None) as limit:
        assert limit.refusal == ""
