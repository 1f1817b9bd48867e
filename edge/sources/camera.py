"""A camera through V4L2 and OpenCV, or whichever camera there is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from edge.errors import FrameError, SourceError
from edge.latency.stalls import StallWatch
from edge.sources import jpeg, picamera, v4l2
from edge.sources.base import Grabbed, Source, SourceOptions
from edge.sources.pacing import Rhythm
from edge.sources.yuyv import Converter

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from numpy.typing import NDArray

OLDEST_STAMP_NS = 2_000_000_000  # a driver's timestamp further back is of another clock
BUFFERS = 4  # that OpenCV has the driver fill
AUTO = "auto"


class CameraOptions(SourceOptions):
    """A camera: on USB through V4L2, or whichever there is."""

    type: Literal["camera"] = Field(description="A camera: on USB, or whichever there is.")
    device: str | int = Field(
        default="auto",
        description="Device node for V4L2, best a stable one from /dev/v4l/by-id/, or its number; "
        "`auto` is a Raspberry Pi's own camera through picamera2 (`type: picamera`) where both "
        "are there, else the first that V4L2 has.",
    )
    width: int = Field(default=1280, ge=16, le=8192, description="Width asked of the camera.")
    height: int = Field(default=720, ge=16, le=8192, description="Height asked of the camera.")
    fps: float = Field(default=30, gt=0, le=1000, description="Frames a second asked of it.")
    fourcc: str = Field(
        default="MJPG",
        min_length=4,
        max_length=4,
        pattern=r"^[\x21-\x7e ]{4}$",
        description="Pixel format asked of it, as four letters: MJPG, YUYV, ...",
    )

    @property
    def rate(self) -> float:
        """Frames a second, as asked of it."""
        return self.fps

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        if self.device == AUTO and picamera.present():
            options = picamera.PicameraOptions(
                type="picamera", width=self.width, height=self.height, fps=self.fps
            )
            return options.make()
        return Camera(self)


class Camera(Source):
    """Grabs without decoding; decodes when asked, no larger than asked.

    OpenCV would decode each frame whole, and give the picture before where one is damaged. So
    it is asked for the driver's own bytes in the formats that we can do better.
    """

    def __init__(self, options: CameraOptions) -> None:
        self._options = options
        device = options.device
        self._node = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        self._stalls = StallWatch()
        self._rhythm = Rhythm(self._stalls.period)
        self._number = -1
        self._stamped_ns: int | None = None  # the driver's last stamp that was believed
        self._taken: NDArray[Any] | None = None
        self._decode: Callable[[NDArray[Any]], NDArray[Any] | None] | None = None
        self._whole_size = (0, 0)
        self._capture: Any = None

    def make_smaller(
        self, reduction: Callable[[int, int], int], scaling: Callable[[int, int], float]
    ) -> None:
        """From the next frame on, decode them smaller."""
        super().make_smaller(reduction, scaling)
        if self._capture is not None:
            self._decode = self._decoder(self._capture)

    def open(self) -> None:
        """Open the device node and ask for size, rate and format."""
        import cv2

        if self._options.device == AUTO:
            self._node = first_camera()
        if not self._node.exists():
            raise SourceError(f"{self._node}: there is no such camera; `ls /dev/v4l/by-id` lists")
        if not os.access(self._node, os.R_OK | os.W_OK):
            raise SourceError(
                f"{self._node}: no permission; add the user to the group video "
                "(`sudo usermod -aG video USER`) and log in again"
            )
        device = v4l2.query(self._node)
        if device is not None and device.driver in v4l2.RIBBON + v4l2.PROCESSORS:
            raise SourceError(f"{self._node}: {_for_libcamera(device)}")
        capture = cv2.VideoCapture(str(self._node), cv2.CAP_V4L2)
        if not capture.isOpened():
            raise SourceError(f"{self._node}: is no camera that V4L2 can open, or is in use")
        options = self._options
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
        capture.set(cv2.CAP_PROP_FPS, options.fps)
        self._decode = self._decoder(capture)
        if self._decode is not None:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._capture = capture
        self._stamped_ns = None
        self._stalls.restart()
        self._rhythm.restart()

    def _decoder(self, capture: Any) -> Callable[[NDArray[Any]], NDArray[Any] | None] | None:
        """Return what decodes the format that the camera really gives; None for OpenCV itself."""
        import cv2

        jpegs = (cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"JPEG"))
        fourcc = int(capture.get(cv2.CAP_PROP_FOURCC))
        if fourcc not in (*jpegs, cv2.VideoWriter.fourcc(*"YUYV")):
            return None
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._whole_size = (width, height)
        if fourcc in jpegs:
            return lambda data: jpeg.decode(data, self.reduction)
        return Converter(width, height, by=self.reduction(width, height))

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait for the driver's next buffer; its own timestamp is the capture time.

        The driver fills its buffers and then drops what comes: after a pause of ours they hold
        old frames. So we pass over each whose successor should be here by now.
        """
        if stop.is_set():
            return None
        captured_ns = self._take_buffer()
        for _ in range(BUFFERS):
            due_ns = self._rhythm.due_ns
            if due_ns is None or time.monotonic_ns() < due_ns:
                break
            self.lost += 1
            captured_ns = self._take_buffer()
        return Grabbed(self._number, captured_ns)

    def _take_buffer(self) -> int:
        """Wait for a buffer and count it; return when its frame was captured."""
        import cv2

        if not self._capture.grab():
            raise SourceError(f"{self._node}: gives no more frames; was it unplugged?")
        arrived_ns = time.monotonic_ns()
        position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        captured_ns = driver_stamp(position_ms, now_ns=arrived_ns, before_ns=self._stamped_ns)
        if captured_ns != arrived_ns:
            self._stamped_ns = captured_ns
        gap = self._stalls.gap(captured_ns)
        self._rhythm.take(captured_ns, arrived_ns=arrived_ns)
        self.lost += gap
        self._number += 1 + gap
        return captured_ns

    def retrieve(self) -> NDArray[Any]:
        """Decode the frame grabbed last."""
        import cv2

        ok, self._taken = self._capture.retrieve(self._taken)
        taken = self._taken
        if not ok or taken is None:
            raise FrameError(f"{self._node}: a frame could not be decoded")
        if self._decode is None or taken.shape[2:] == (3,):  # decoded already
            self.size = None
            return taken
        try:
            frame = self._decode(taken.reshape(-1))
        except (cv2.error, ValueError):
            frame = None
        if frame is None:
            raise FrameError(f"{self._node}: a frame came damaged ({taken.size} bytes)")
        self.size = self._whole_size
        return frame

    def due_ns(self) -> int | None:
        """When the next frame will be there, by the rhythm of the last ones."""
        return self._rhythm.due_ns

    def close(self) -> None:
        """Give the camera back."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def first_camera(dev: Path = v4l2.DEV) -> Path:
    """Return the node of the first camera that V4L2 has. Raises SourceError where there is none."""
    found = v4l2.devices(dev)
    for node, device in found.items():
        if device.camera:
            return node
    for node, device in found.items():
        if device.driver in v4l2.RIBBON:
            raise SourceError(f"there is no camera on USB, and {node} {_for_libcamera(device)}")
    raise SourceError(f"there is no camera: {dev}/video* holds none; `ls /dev/v4l/by-id` lists")


def _for_libcamera(device: v4l2.Device) -> str:
    """Return why V4L2 is the wrong way to a device of a Raspberry Pi's camera port."""
    return (
        f"belongs to the Raspberry Pi's camera port ({device.driver}), where V4L2 gives no "
        f"pictures, only a sensor's raw data: use `type: picamera`; picamera2: {picamera.INSTALL}"
    )


def driver_stamp(position_ms: float, *, now_ns: int, before_ns: int | None = None) -> int:
    """Return the capture time: the driver's where it is believable, else `now_ns`.

    V4L2 stamps a buffer on the monotonic clock and OpenCV hands that on, in milliseconds,
    as the position; some drivers leave it 0 or use another clock. A frame may have lain there
    for long: it is believed, however old, when it follows `before_ns`, a stamp of this driver.
    """
    stamp_ns = round(position_ms * 1e6)
    oldest_ns = now_ns - OLDEST_STAMP_NS
    if before_ns is not None:
        oldest_ns = min(oldest_ns, before_ns)
    return stamp_ns if oldest_ns <= stamp_ns <= now_ns else now_ns
