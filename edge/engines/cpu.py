"""Which processor this is: what was measured on another one says little here."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict

CPUINFO = Path("/proc/cpuinfo")
DEVICE_TREE = Path("/proc/device-tree/model")


class Cpu(BaseModel):
    """A processor, by what decides how fast a model runs on it."""

    model_config = ConfigDict(frozen=True)

    model: str
    """The board's name where it has one (Raspberry Pi 4 Model B Rev 1.4), and the processor's."""
    cores: int

    def __str__(self) -> str:
        return f"{self.model}, {self.cores} core{'s' if self.cores > 1 else ''}"


def this_cpu() -> Cpu:
    """Return the processor of this machine, its cores counted as the kernel has them online."""
    return Cpu(model=_model(), cores=os.cpu_count() or 1)


def _model() -> str:
    lines = (line.partition(":") for line in _text(CPUINFO).splitlines())
    told = {key.strip(): value.strip() for key, _, value in lines}
    # 32-bit ARM tells the board in capitals; `model` in small letters is a number of x86's.
    board = _text(DEVICE_TREE).strip(" \0\n") or told.get("Model") or told.get("Hardware")
    names = [name for name in (board, told.get("model name")) if name]
    return ", ".join(names) or platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
