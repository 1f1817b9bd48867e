"""A video file, or a stream from the network, through OpenCV and FFmpeg."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge.errors import FrameError, SourceError
from edge.latency.stalls import Period
from edge.sources import jpeg
from edge.sources.base import Grabbed, Source, SourceOptions, whole
from edge.sources.pacing import Pacer, Rhythm

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from numpy.typing import NDArray

TIMEOUT_MS = 10_000  # for opening a stream, and for each read from it


class VideoOptions(SourceOptions):
    """A video file or a network stream."""

    type: Literal["video"] = Field(description="A video file or a network stream.")
    path: str = Field(description="A file, or a URL such as rtsp://HOST/PATH or http://HOST/PATH.")
    fps: Annotated[float, Field(ge=0.0001, le=10_000)] | Literal["file"] | None = Field(
        default="file",
        description="Pace of a file: its own (`file`), a number of frames a second, or `null`: "
        "as fast as possible, no frame dropped. A stream sets its own pace.",
    )
    loop: bool = Field(default=False, description="Begin a file again after its last frame.")

    @field_validator("path")
    @classmethod
    def _against_the_yaml(cls, value: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        if "://" in value or folder is None:
            return value
        return os.path.normpath(Path(folder) / Path(value).expanduser())

    @property
    def stream(self) -> bool:
        """Whether it comes from the network."""
        return "://" in self.path

    @property
    def live(self) -> bool:
        """Whether it has a rate of its own."""
        return self.stream or self.fps is not None

    @property
    def rate(self) -> float | None:
        """Frames a second, where the configuration says."""
        return None if self.stream or self.fps == "file" else self.fps

    def verify(self) -> None:
        """See that a file is there; a stream may come later."""
        if not self.stream and not Path(self.path).is_file():
            raise SourceError(f"{self.path}: there is no such video file")

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        return Video(self)


class Video(Source):
    """Reads a file at a pace or on demand, and a stream as it comes."""

    def __init__(self, options: VideoOptions) -> None:
        self._options = options
        self._shown = _without_password(options.path)
        self._number = -1
        self._frame: NDArray[Any] | None = None
        self._capture: Any = None
        self._packets = False  # whether the capture gives JPEGs, undecoded
        self._has_first = False  # whether the first of them was grabbed, to look at
        self._pacer: Pacer | None = None
        self._period = Period()
        self._rhythm = Rhythm(self._period)

    def open(self) -> None:
        """Open the file or stream."""
        import cv2

        if not self._options.stream and not Path(self._options.path).is_file():
            raise SourceError(f"{self._shown}: there is no such video file")
        capture = self._begin()
        own_fps = float(capture.get(cv2.CAP_PROP_FPS))
        self._packets = False
        if int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG"):
            self._packets = _gives_jpegs(capture)
            if not self._packets:  # there is no way back to decoded frames
                capture.release()
                capture = self._begin()
        self._has_first = self._packets
        self._capture = capture
        self._period.restart()
        self._rhythm.restart()
        if self._pacer is None and not self._options.stream and self._options.fps is not None:
            asked = self._options.fps
            fps = asked if asked != "file" else own_fps if own_fps > 0 else 25.0
            self._pacer = Pacer(fps)

    def _begin(self) -> Any:
        """Return an OpenCV capture of the file or stream, at its beginning."""
        import cv2

        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        capture = cv2.VideoCapture(self._options.path, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            kind = "stream answers" if self._options.stream else "video can be read"
            raise SourceError(f"{self._shown}: no {kind} there (FFmpeg)")
        return capture

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Take the next frame: when it is due, when the stream gives it, or at once."""
        step, captured_ns = 1, 0
        if self._pacer is not None:
            due = self._pacer.next(stop)
            if due is None:
                return None
            number, captured_ns = due
            step = number - self._number
            self.lost = self._pacer.lost
        if stop.is_set():
            return None
        for _ in range(step):
            if not self._advance():
                return None
            self._number += 1
        if not captured_ns:
            captured_ns = time.monotonic_ns()
        if self._options.stream:
            self._period.take(captured_ns)
            self._rhythm.take(captured_ns, arrived_ns=captured_ns)
        return Grabbed(self._number, captured_ns)

    def _advance(self) -> bool:
        """Grab one frame, from the beginning again where that is asked; False at the end."""
        if self._next():
            return True
        if self._options.stream:
            raise SourceError(f"{self._shown}: the stream ended or fell silent")
        if not self._options.loop or self._number < 0:
            return False
        self.close()
        self.open()
        return self._next()

    def _next(self) -> bool:
        if self._has_first:
            self._has_first = False
            return True
        return bool(self._capture.grab())

    def retrieve(self) -> NDArray[Any]:
        """Decode the frame grabbed last, or convert it to BGR where FFmpeg decoded it."""
        ok, self._frame = self._capture.retrieve(self._frame)
        frame = self._frame if ok else None
        if frame is not None and self._packets:
            data = frame.reshape(-1)
            frame = _decoded(data, self.reduction)
            self.size = jpeg.full_size(data, frame) if frame is not None else None
        if frame is None:
            raise FrameError(f"{self._shown}: frame {self._number} could not be decoded")
        return frame

    def due_ns(self) -> int | None:
        """When the next frame is due: by the rate, or by the rhythm of a stream."""
        return self._pacer.due_ns if self._pacer is not None else self._rhythm.due_ns

    def close(self) -> None:
        """Let go of the file or stream."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _gives_jpegs(capture: Any) -> bool:
    """Ask for undecoded frames, grab the first and see that it is a picture of the film's size.

    One that is not is for FFmpeg: an interlaced film has two pictures in a frame.
    """
    import cv2

    size = (capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    if not capture.set(cv2.CAP_PROP_FORMAT, -1) or not capture.grab():
        return False
    ok, data = capture.retrieve()
    picture = _decoded(data.reshape(-1), whole) if ok else None
    return picture is not None and picture.shape[:2] == size


def _decoded(data: NDArray[Any], reduction: Callable[[int, int], int]) -> NDArray[Any] | None:
    """Return the picture of a JPEG (its bytes, one-dimensional); None when it is damaged."""
    import cv2

    try:
        return jpeg.decode(data, reduction)
    except cv2.error:  # it is empty
        return None


def _without_password(path: str) -> str:
    """Return the path as it may stand in a log: a camera's URL often holds its password."""
    scheme, sign, rest = path.partition("://")
    if not sign:
        return path
    before, at, address = rest.rpartition("@")  # a password may hold any character
    address, query, _ = address.partition("?")
    return f"{scheme}://{before and '***'}{at}{address}{query and '?***'}"
