"""A picture of what the pipeline sees, for who asks: the frame behind a result, with the result.

Nobody asks most of the time, and then it costs a look at one flag a frame.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.wire import Picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge.sources.base import ModelInput
    from edge.wire import Done, Look, Record
    from edge.worker.mailbox import Slot

LONGEST_SIDE = 1280  # pixels
SHORTEST_WIDTH = 320  # pixels: less could not be written on
SMALLEST_SIDE = 64  # pixels: below it nothing can be seen
QUALITIES = (85, 70, 50, 30)
LINES = 3  # of predictions
MARK = (80, 255, 80)  # BGR
LINE_HEIGHT = 1 / 18  # of the picture's width


class Lens:
    """Keeps a copy of a frame, from its capture to its result, only while somebody asks."""

    def __init__(self, tell: Callable[[Record], None]) -> None:
        """`tell` sends a record; it is called in a thread of our own."""
        self._tell = tell
        self._wanted: Look | None = None
        self._lock = threading.Lock()

    def ask(self, look: Look) -> None:
        """Want a picture of the next frame that is captured and answered."""
        self._wanted = look

    def captured(self, slot: Slot, frame: NDArray[Any] | ModelInput) -> None:
        """Copy the pixels of a frame (height x width x 3, BGR) while its source holds them."""
        slot.picture = None
        if self._wanted is not None:
            slot.picture = frame.copy() if isinstance(frame, np.ndarray) else np.empty(0, np.uint8)

    def answered(self, slot: Slot, done: Done) -> None:
        """Make the picture of a frame that has its result, beside the loop."""
        picture, slot.picture = slot.picture, None
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if picture is not None and wanted is not None:
            arguments = (picture, done, wanted.max_bytes)
            threading.Thread(target=self._make, args=arguments, name="lens", daemon=True).start()

    def _make(self, picture: NDArray[Any], done: Done, max_bytes: int) -> None:
        jpeg, why = b"", "the source gives no pictures, but the model's input itself"
        if picture.size:
            try:
                jpeg, why = draw(picture, done, max_bytes=max_bytes), ""
            except cv2.error as error:
                why = f"the picture could not be made: {error.err}"
            if not jpeg and not why:
                why = f"the picture does not fit into {max_bytes} bytes"
        self._tell(Picture(jpeg, done.frame, why))


def draw(picture: NDArray[Any], done: Done, *, max_bytes: int) -> bytes:
    """Return a JPEG of a frame, its time and its predictions below it; nothing if none is so small.

    Quality goes down first, then the size.
    """
    picture = _fitted(picture)
    while max(picture.shape[:2]) >= SMALLEST_SIDE:
        written = _written_on(picture, done)
        for quality in QUALITIES:
            ok, data = cv2.imencode(".jpg", written, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if ok and data.nbytes <= max_bytes:
                return data.tobytes()
        picture = _scaled(picture, 0.7)
    return b""


def _fitted(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    if max(height, width) > LONGEST_SIDE:
        return _scaled(picture, LONGEST_SIDE / max(height, width))
    if width < SHORTEST_WIDTH and height < SHORTEST_WIDTH:
        return _scaled(picture, SHORTEST_WIDTH / max(height, width))
    return picture


def _scaled(picture: NDArray[Any], by: float) -> NDArray[Any]:
    height, width = picture.shape[:2]
    size = (max(round(width * by), 1), max(round(height * by), 1))
    how = cv2.INTER_AREA if by < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=how))


def _written_on(picture: NDArray[Any], done: Done) -> NDArray[Any]:
    """Return the picture with a mark at each place that was found, and lines of text below it."""
    width = max(picture.shape[1], SMALLEST_SIDE)
    line = max(round(width * LINE_HEIGHT), 12)
    lines = [_time_of(done.captured_ns), *_in_lines(done)]
    band = np.zeros((line * len(lines) + line // 2, picture.shape[1], 3), np.uint8)
    for number, text in enumerate(lines, 1):
        _write(band, text, (line // 3, line * number), line, (255, 255, 255))
    return np.vstack([_marked(picture, done, line), band])


def _marked(picture: NDArray[Any], done: Done, line: int) -> NDArray[Any]:
    """Return the picture with a ring around each centroid, its label and its score beside it."""
    places = [each for each in done.predictions if "x" in each]
    marked: NDArray[Any] = picture.copy()
    height, width = picture.shape[:2]
    for each in places:
        x, y = round(each["x"] * (width - 1)), round(each["y"] * (height - 1))
        text = _said(each)
        for colour, more in (((0, 0, 0), 2), (MARK, 0)):  # dark around it: seen on any ground
            cv2.circle(marked, (x, y), line // 2, colour, max(line // 12, 1) + more, cv2.LINE_AA)
            reach = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, line / 32, 1)[0][0]
            right = x + line * 2 // 3
            beside = right if right + reach < width else x - line * 2 // 3 - reach
            baseline = min(max(y + line // 4, line), height - line // 4)
            _write(marked, text, (beside, baseline), line, colour, more=more)
    return marked


def _write(
    picture: NDArray[Any],
    text: str,
    at: tuple[int, int],
    line: int,
    colour: tuple[int, int, int],
    *,
    more: int = 0,
) -> None:
    """Write a text as high as a line; `at` is where it begins, `more` makes it so much bolder."""
    thickness = max(line // 24, 1) + more
    cv2.putText(
        picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, line / 32, colour, thickness, cv2.LINE_AA
    )


def _in_lines(done: Done) -> list[str]:
    found = [each for each in done.predictions if "label" in each][:LINES]
    return [_said(each) for each in found] or ["nothing"]


def _said(prediction: dict[str, Any]) -> str:
    # OpenCV's own letters are those of ASCII.
    label = str(prediction["label"]).encode("ascii", "replace").decode()
    return f"{label} {prediction['score']:.2f}" if "score" in prediction else label


def _time_of(captured_ns: int) -> str:
    at = time.time() - (time.monotonic_ns() - captured_ns) / 1e9
    moment = datetime.fromtimestamp(at, timezone.utc)
    return moment.isoformat(" ", "milliseconds").replace("+00:00", "Z")
