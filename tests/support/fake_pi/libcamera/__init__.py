"""Of libcamera's Python part what `edge.sources.picamera` uses, with the names it has there.

Enumerations have the values of libcamera's control_ids_core.yaml.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import SimpleNamespace


@dataclass(frozen=True)
class Transform:
    """How the picture is turned round."""

    hflip: bool = False
    vflip: bool = False
    transpose: bool = False


class AfModeEnum(enum.IntEnum):
    Manual = 0
    Auto = 1
    Continuous = 2


class NoiseReductionModeEnum(enum.IntEnum):
    Off = 0
    Fast = 1
    HighQuality = 2


controls = SimpleNamespace(
    AfModeEnum=AfModeEnum, draft=SimpleNamespace(NoiseReductionModeEnum=NoiseReductionModeEnum)
)
