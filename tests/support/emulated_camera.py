"""A camera that is not there: an ordinary file, and a library that makes OpenCV take it for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SOURCE = Path(__file__).with_suffix(".c")


def compile_library(compiler: str, folder: Path) -> Path:
    """Compile what stands before the C library in a process that is to see the camera."""
    library = folder / "emulated_camera.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True
    )
    return library


class EmulatedCamera:
    """A camera of one format and rate; `emulated_camera.c` says what it does."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.node = folder / "video0"
        self.environ = {
            "LD_PRELOAD": str(library),
            "EMULATED_CAMERA": str(self.node),
            "EDGE_WORKER_ENVIRONMENT": "EMULATED_CAMERA",
        }
        self._frames = folder / "frames"

    def plug_in(
        self,
        pictures: Sequence[NDArray[Any]],
        *,
        fourcc: str = "MJPG",
        fps: int = 30,
        delay_ms: int = 5,
        stamps: str = "driver",
        driver: str = "emulated",
    ) -> None:
        """Be there, and show these pictures (BGR, all of one size) in turn."""
        self._frames.mkdir(exist_ok=True)
        for number, picture in enumerate(pictures):
            path = self._frames / f"{number:04}"
            if fourcc == "MJPG":
                ok, data = cv2.imencode(".jpg", picture)
                assert ok
                data.tofile(path)
            else:
                assert fourcc == "YUYV"
                cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUY2).tofile(path)
        height, width = pictures[0].shape[:2]
        words = f"frames={self._frames} format={fourcc} width={width} height={height} fps={fps}"
        new = self.node.with_suffix(".new")
        new.write_text(f"{words} delay_ms={delay_ms} stamps={stamps} driver={driver}\n")
        new.rename(self.node)

    def unplug(self) -> None:
        """Be gone."""
        self.node.unlink()

    def have(self, trouble: str, *, on: bool = True) -> None:
        """Begin or end a trouble: `stall`, `half` or `zeros`."""
        path = self.node.with_name(f"{self.node.name}.{trouble}")
        if on:
            path.touch()
        else:
            path.unlink()

    def run(self, script: str) -> str:
        """Run a Python script that sees the camera; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", script, str(self.node)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | self.environ,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
