"""The frames that all see: seeded crops of real pictures, 1280x720, as files of three kinds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge.sources.base import ModelInput
from edge.sources.images import IMAGE_SUFFIXES, read_frame
from peers.feeds import PICTURES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 720
JPEG_QUALITY = 90
VIDEO_ROUNDS = 30  # 16 s at 30 frames a second
SEED = 4
FEEDS = ("memory", "mjpeg", "jpeg")


def make_frames(
    pictures: Path, folder: Path, feeds: list[str], *, most: int, rounds: int = VIDEO_ROUNDS
) -> None:
    """Write FOLDER/memory/*.bmp, FOLDER/mjpeg/video.avi and FOLDER/jpeg/*.jpg, where asked for.

    `most` is how many JPEG files there are, all names of the same sixteen: a source that keeps
    nothing goes through them once. `rounds` is how often the video shows all of them.
    """
    frames = crops(pictures)
    if "memory" in feeds:
        (folder / "memory").mkdir()
        for number, frame in enumerate(frames):
            cv2.imwrite(str(folder / "memory" / f"{number:02}.bmp"), frame)
    if "mjpeg" in feeds:
        (folder / "mjpeg").mkdir()
        _write_video(folder / "mjpeg" / "video.avi", frames * rounds)
    if "jpeg" in feeds:
        (folder / "jpeg").mkdir()
        for number in range(most):
            path = folder / "jpeg" / f"{number:06}.jpg"
            if number < PICTURES:
                cv2.imwrite(str(path), frames[number], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            else:
                os.link(folder / "jpeg" / f"{number % PICTURES:06}.jpg", path)


def crops(pictures: Path) -> list[NDArray[Any]]:
    """Return sixteen frames (uint8, 720 x 1280 x 3, BGR): seeded cuts of a folder's pictures."""
    files = sorted(p for p in pictures.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    whole = [read_frame(path) for path in files]
    if not whole:
        raise LookupError(f"{pictures}: holds no pictures to make frames of")
    random = np.random.default_rng(SEED)
    frames = []
    for number in range(PICTURES):
        picture = whole[number % len(whole)]
        assert not isinstance(picture, ModelInput)
        height, width = picture.shape[:2]
        scale = min(width / WIDTH, height / HEIGHT) * random.uniform(0.6, 1.0)
        cut_height, cut_width = round(HEIGHT * scale), round(WIDTH * scale)
        top = int(random.integers(0, height - cut_height + 1))
        left = int(random.integers(0, width - cut_width + 1))
        cut = picture[top : top + cut_height, left : left + cut_width]
        frames.append(cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    return frames


def _write_video(path: Path, frames: list[NDArray[Any]]) -> None:
    writer = cv2.VideoWriter(
        str(path),
        cv2.CAP_OPENCV_MJPEG,
        cv2.VideoWriter.fourcc(*"MJPG"),
        30,
        (WIDTH, HEIGHT),
    )
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, JPEG_QUALITY)
    for frame in frames:
        writer.write(frame)
    writer.release()
