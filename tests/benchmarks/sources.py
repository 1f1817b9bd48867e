"""Measures how long a frame takes from a source to the model's input, each way beside the old one.

    python tests/benchmarks/sources.py PICTURE [--size 1280x720] [--turns 200]

The picture is shown as a camera's MJPEG and YUYV frames and as an MJPEG film. For inputs of
several sizes it prints the median microseconds from the raw frame to the tensor: converted whole,
as OpenCV does it, and made smaller on the way, as our sources do, or by half in any case; hot (at
once, again and again) and cold (each time after 20 MB of other memory were written); and how far
the two tensors are apart, in grey levels.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config.model import Model
from edge.sources import jpeg
from edge.sources.base import whole
from edge.sources.yuyv import Converter
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor

INPUTS = (96, 128, 224)
OTHER_MEMORY = np.zeros(20_000_000, np.uint8)
Way = Callable[[Preprocessor], Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--turns", type=int, default=200)
    args = parser.parse_args()
    cv2.setNumThreads(1)  # as the worker has it
    width, height = map(int, args.size.split("x"))
    picture = cv2.imread(str(args.picture))
    if picture is None:
        raise SystemExit(f"{args.picture}: no picture that OpenCV can read")
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    for side in INPUTS:
        spec = TensorSpec("input", (1, side, side, 3), "uint8", 1 / 255, 0)
        preprocess = Preprocessor(Model(path=Path("input.tflite")), spec)
        by = preprocess.reduction(width, height)
        print(f"{width}x{height} to {side}x{side}, may be made {by} times smaller on the way")
        for name, old, new in (*mjpeg(picture), *yuyv(picture, by), *film(picture)):
            compare(name, old, new, preprocess, args.turns)


def mjpeg(picture: NDArray[Any]) -> list[tuple[str, Way, Way]]:
    """A camera's JPEG, already in our memory."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].reshape(-1)

    def old(_: Preprocessor) -> Any:
        return jpeg.decode(data, whole)

    return [
        ("MJPG", old, lambda preprocess: jpeg.decode(data, preprocess.reduction)),
        ("MJPG, halved always", old, lambda _: cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2)),
    ]


def yuyv(picture: NDArray[Any], by: int) -> list[tuple[str, Way, Way]]:
    """A camera's YUYV, already in our memory."""
    height, width = picture.shape[:2]
    data = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUY2).reshape(-1)
    old, new = Converter(width, height, by=1), Converter(width, height, by=by)
    halved = Converter(width, height, by=2)
    return [
        ("YUYV", lambda _: old(data), lambda _: new(data)),
        ("YUYV, halved always", lambda _: old(data), lambda _: halved(data)),
    ]


def film(picture: NDArray[Any]) -> list[tuple[str, Way, Way]]:
    """An MJPEG film from a file, as FFmpeg decodes it and as packets that we decode."""
    folder = tempfile.mkdtemp()
    path = str(Path(folder, "film.avi"))
    size = (picture.shape[1], picture.shape[0])
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(path, cv2.CAP_OPENCV_MJPEG, fourcc, 30.0, size)
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 90)
    for _ in range(1000):
        writer.write(picture)
    writer.release()
    frames, packets = (cv2.VideoCapture(path, cv2.CAP_FFMPEG) for _ in range(2))
    packets.set(cv2.CAP_PROP_FORMAT, -1)
    Path(path).unlink()
    Path(folder).rmdir()
    return [
        (
            "MJPEG film",
            lambda _: frames.read()[1],
            lambda preprocess: jpeg.decode(packets.read()[1].reshape(-1), preprocess.reduction),
        )
    ]


def compare(name: str, old: Way, new: Way, preprocess: Preprocessor, turns: int) -> None:
    """Let both ways take turns, hot and cold."""
    tensors = [preprocess.buffer(), preprocess.buffer()]
    said = []
    for cold in (False, True):
        spent: list[list[float]] = [[], []]
        for _ in range(turns):
            for which, way in enumerate((old, new)):
                if cold:
                    OTHER_MEMORY.fill(1)
                else:
                    preprocess(way(preprocess), tensors[which])
                began = time.perf_counter()
                preprocess(way(preprocess), tensors[which])
                spent[which].append((time.perf_counter() - began) * 1e6)
        before, after = (statistics.median(each) for each in spent)
        said.append(f"{'cold' if cold else 'hot'} {before:.0f} -> {after:.0f} us")
    apart = np.abs(tensors[0].astype(int) - tensors[1]).mean()
    print(f"  {name}: {', '.join(said)}; {apart:.2f} grey levels apart")


if __name__ == "__main__":
    main()
