"""`edge publish-frames`: the thin camera end of a pool; its models run elsewhere."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.broker_options import access_from, add_broker_options
from edge.errors import ConfigError, EdgeError, FrameError, SourceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge.cli.frames_client import Answers, FramesClient
    from edge.sources.base import ModelInput, Source, SourceOptions

VIDEO_SUFFIXES = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"])


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "publish-frames",
        help="publish frames for devices that run the model",
        description="Publishes the frames of a source as JPEGs with QoS 1, for pipelines whose "
        "source is `mqtt`. With --await it waits for their answers and tells where the time went.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a picture, a folder of pictures, a video, a stream's URL, a camera's number or "
        "/dev/video*, or `synthetic`",
    )
    parser.add_argument("--topic", required=True, metavar="TOPIC", help="where to publish")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second (default: its own)")
    parser.add_argument("--count", type=int, metavar="N", help="end after N frames")
    parser.add_argument("--loop", action="store_true", help="begin files again after the last")
    parser.add_argument("--quality", type=int, default=85, metavar="Q", help="JPEG, 1 to 100")
    parser.add_argument("--size", metavar="WxH", help="make each picture so small before")
    parser.add_argument(
        "--in-flight",
        type=int,
        default=8,
        metavar="N",
        help="frames on their way at once: not acknowledged by the broker, or, with --await, "
        "not answered (default %(default)s)",
    )
    parser.add_argument(
        "--await", action="store_true", dest="wait", help="wait for the answer to each frame"
    )
    parser.add_argument(
        "--timeout", type=float, default=10, metavar="S", help="for an answer (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="tell the figures as a JSON object")
    add_broker_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Publish frames; 1 when some could not be read, reached nobody or were not answered."""
    from edge.cli.frames_client import FramesClient, report

    size = _check(args)
    options = _source(args)
    access = access_from(args)
    client = FramesClient(
        access,
        args.topic,
        in_flight=args.in_flight,
        answers_within_s=args.timeout if args.wait else None,
    )
    client.open()
    interrupted = False
    try:
        failed = _publish(args, options, client, size)
        client.finish()
    except KeyboardInterrupt:
        interrupted, failed = True, 0
    finally:
        client.close()
    answers = client.answers if args.wait else None
    if interrupted:
        print("edge publish-frames: interrupted", file=sys.stderr)
    if args.json:
        print(json.dumps(report(client, failed)))
    else:
        _tell(client, answers, failed)
    if interrupted:
        return 130
    lost = failed or client.unheard or (answers is not None and answers.missing)
    return 1 if lost else 0


def _check(args: argparse.Namespace) -> tuple[int, int] | None:
    from edge.sources.mqtt import topic_filter

    for option in ("fps", "count", "timeout", "in_flight"):
        value = getattr(args, option)
        if value is not None and not value > 0:
            raise ConfigError(f"--{option.replace('_', '-')} must be more than 0, not {value}")
    if not 1 <= args.quality <= 100:  # noqa: PLR2004
        raise ConfigError(f"--quality must be 1 to 100, not {args.quality}")
    try:
        topic_filter(args.topic)
    except ValueError as error:
        raise ConfigError(f"--topic {error}") from None
    if "+" in args.topic or "#" in args.topic:
        raise ConfigError("--topic must be without + and #: frames are published on one topic")
    if args.size is None:
        return None
    width, _, height = args.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 and int(height) > 0):
        raise ConfigError(f"--size must be WIDTHxHEIGHT, such as 640x480, not {args.size}")
    return int(width), int(height)


def _source(args: argparse.Namespace) -> SourceOptions:
    """Return the options of the source that was named. Raises ConfigError."""
    from pydantic import TypeAdapter, ValidationError

    from edge.plugins import chosen_by_type
    from edge.sources.base import SourceOptions

    name: str = args.source
    found: dict[str, Any]
    if name == "synthetic":
        found = {"type": "synthetic", "fps": args.fps}
    elif name.isdecimal() or name.startswith("/dev/"):
        found = {"type": "camera", "device": int(name) if name.isdecimal() else name}
    elif "://" in name or Path(name).suffix.lower() in VIDEO_SUFFIXES:
        found = {"type": "video", "path": name, "loop": args.loop}
        if args.fps is not None and "://" not in name:
            found["fps"] = args.fps
    else:
        found = {"type": "images", "path": name, "fps": args.fps, "loop": args.loop}
    any_source: TypeAdapter[SourceOptions] = TypeAdapter(
        chosen_by_type("edge.sources", SourceOptions)
    )
    try:
        options = any_source.validate_python(found)
        options.verify()
    except ValidationError as error:
        raise ConfigError(f"{name}: {error.errors()[0]['msg']}") from None
    except SourceError as error:
        raise ConfigError(str(error)) from None
    return options


def _publish(
    args: argparse.Namespace,
    options: SourceOptions,
    client: FramesClient,
    size: tuple[int, int] | None,
) -> int:
    """Publish the source's frames; return how many of them could not be read."""
    stop = threading.Event()
    source = options.make()
    failed = 0
    source.open()
    try:
        for frame in _frames(source, stop):
            if isinstance(frame, FrameError):
                failed += 1
                print(f"edge publish-frames: {frame}", file=sys.stderr)
            else:
                client.publish(_packed(frame, size, args.quality))
            if client.published + failed == args.count:
                break
            if args.fps is not None and options.rate is None and options.live:
                stop.wait(1 / args.fps)  # a camera's own rate may be higher
    finally:
        source.close()
    return failed


def _frames(
    source: Source, stop: threading.Event
) -> Iterator[NDArray[Any] | ModelInput | FrameError]:
    while source.grab(stop) is not None:
        try:
            yield source.retrieve()
        except FrameError as error:
            yield error


def _packed(frame: NDArray[Any] | ModelInput, size: tuple[int, int] | None, quality: int) -> bytes:
    """Return a frame as it travels: a JPEG, or the tensor that it is."""
    import cv2
    import numpy as np

    from edge.sources.base import ModelInput
    from edge.sources.payload import pack_tensor

    if isinstance(frame, ModelInput):
        if isinstance(frame.data, bytes):
            raise EdgeError("raw bytes cannot travel: their shape and type are not known; use .npy")
        try:
            return pack_tensor(frame.data)
        except ValueError as error:
            raise EdgeError(str(error)) from None
    if size is not None:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    done, packed = cv2.imencode(
        ".jpg", np.ascontiguousarray(frame), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise EdgeError(f"a frame of shape {frame.shape} cannot become a JPEG")
    return packed.tobytes()


def _tell(client: FramesClient, answers: Answers | None, failed: int) -> None:
    seconds = max(client.ended_s - client.began_s, 1e-9)
    print(
        f"{client.published} frames ({client.published_bytes / 1e6:.1f} MB) in {seconds:.1f} s, "
        f"{client.published / seconds:.1f} a second; {client.acknowledged} acknowledged by the "
        f"broker{f', {failed} could not be read' if failed else ''}"
    )
    if client.unheard:
        print(
            f"{client.unheard} frames reached nobody: no device was subscribed, and a broker keeps "
            "them for none",
            file=sys.stderr,
        )
    if answers is None:
        return
    print(
        f"{answers.count} answers from {len(answers.devices)} devices "
        f"({answers.count / seconds:.1f} a second), {answers.repeats} repeats left out"
    )
    for device, count in sorted(answers.devices.items()):
        print(f"  {device:<24} {count:6d}")
    print(f"{'ms':<12}{'P50':>10}{'P90':>10}{'P99':>10}{'max':>10}")
    for name, histogram in answers.histograms.items():
        values = [histogram.supported_percentile(q) for q in (50, 90, 99)]
        shown = ["-" if v is None else f"{v / 1e3:.2f}" for v in values]
        most = f"{histogram.max / 1e3:.2f}" if histogram.count else "-"
        print(f"{name:<12}" + "".join(f"{each:>10}" for each in [*shown, most]))
    print(
        "queue and compute are the device's own; network is the rest of each round trip: the way "
        "there\nand back, the time in the broker, and there the wait for a device that is free"
    )
    if answers.missing:
        print(
            f"{answers.missing} answers are missing after {client.answers_within_s:g} s: is there "
            "a device whose source has this topic, and does it publish every result?",
            file=sys.stderr,
        )
