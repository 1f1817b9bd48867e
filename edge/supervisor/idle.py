"""Keeps the cores from sleeping more deeply than the device may wait for them to wake up."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

DEVICE = "/dev/cpu_dma_latency"


class WakeUpLimit:
    """A request to the kernel that holds for as long as the file is open (PM QoS)."""

    def __init__(self, limit_us: int | None) -> None:
        """`limit_us` is the longest a core may take to wake up, None for no request."""
        self._limit_us = limit_us
        self._file: int | None = None
        self.refusal = ""
        """Why the request could not be made; empty where it holds, or there is none."""

    def __enter__(self) -> Self:
        """Make the request."""
        if self._limit_us is None:
            return self
        try:
            self._file = os.open(DEVICE, os.O_WRONLY)
            os.write(self._file, struct.pack("i", self._limit_us))
        except OSError as error:
            self.refusal = (
                f"`wake_up_limit_us: {self._limit_us}` was not granted: {DEVICE}: "
                f"{(error.strerror or str(error)).lower()}; see systemd/60-edge-runtime.rules"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take it back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
