"""What the peers read frames from: `read()` as cv2.VideoCapture has it, at a pace or at once.

A frame's time begins as it does in ours: paced, at the moment it was due; as fast as possible,
when it was asked for, or, from a video, when it was grabbed. No more of the package is imported
than its clock, for MediaPipe's environment has none of its dependencies.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import cv2

from edge.sources.pacing import Pacer

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = 16  # decoded they take 44 MB, which our `images` source keeps in memory


class Feed:
    """Frames without an end, the same ones in the same order for everybody."""

    def __init__(self, kind: str, folder: Path, fps: float | None) -> None:
        """`kind` is `memory`, `jpeg` or `mjpeg`; without `fps` a frame is there when asked for."""
        self._pacer = Pacer(fps) if fps else None
        self._never = threading.Event()
        self._folder = folder / kind
        self._read_one = {
            "memory": self._from_memory,
            "jpeg": self._from_file,
            "mjpeg": self._from_video,
        }[kind]
        self._files = [] if kind == "mjpeg" else sorted(self._folder.iterdir())
        self._kept: dict[Path, Any] = {}
        self._video: Any = None
        self._number = -1
        self.since_ns = 0
        """When the time of the frame read last began, monotonic."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next frame; return True and its pixels (uint8, 720 x 1280 x 3, BGR)."""
        self.since_ns = 0
        if self._pacer is not None:
            due = self._pacer.next(self._never)
            assert due is not None
            self.since_ns = due[1]
        self._number += 1
        frame = self._read_one()
        return frame is not None, frame

    @property
    def picture(self) -> int:
        """Which of the sixteen pictures was read last."""
        return self._number % PICTURES

    def _begin(self) -> None:
        self.since_ns = self.since_ns or time.monotonic_ns()

    def _from_memory(self) -> Any:
        self._begin()
        path = self._files[self._number % len(self._files)]
        if path not in self._kept:
            self._kept[path] = cv2.imread(str(path))
        return self._kept[path]

    def _from_file(self) -> Any:
        self._begin()
        return cv2.imread(str(self._files[self._number % len(self._files)]))

    def _from_video(self) -> Any:
        if self._video is None or not self._video.grab():
            self._video = cv2.VideoCapture(str(self._folder / "video.avi"))
            self._video.grab()
        self._begin()
        return self._video.retrieve()[1]
