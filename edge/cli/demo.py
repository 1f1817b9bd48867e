"""`edge demo`: the main job with no hardware and no broker at hand."""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

DEVICE = "demo"  # as in device_configs/demo.yaml
START_LIMIT_S, STOP_LIMIT_S = 30.0, 15.0
LAST_LINES = 10
SNAPSHOT_AFTER = 20  # results

Heard = tuple[str, Any]
"""A topic without its base and device, and its payload: a picture's bytes, else what it says."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: no camera, no broker needed",
        description="Starts a broker on 127.0.0.1 and a free port, runs the daemon on a bundled "
        "model and pictures, and shows what arrives over MQTT.",
    )
    parser.add_argument(
        "--detect", action="store_true", help="find several moving digits in generated scenes"
    )
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="FILE",
        help="write a frame as a JPEG, with what was found in it",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end after N seconds")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the demo until Ctrl-C or the time is over."""
    from edge.bundled_files import bundled
    from edge.cli.demo_faces import Digits, Scenes
    from edge.cli.demo_view import View
    from edge.supervisor.broker import EmbeddedBroker

    if args.seconds is not None and not args.seconds > 0:
        raise ConfigError(f"--seconds must be more than 0, not {args.seconds:g}")
    face = Scenes() if args.detect else Digits()
    config = bundled(face.config)
    snapshot = _Snapshot(args.snapshot, face.pipeline) if args.snapshot is not None else None
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    interrupted = _Interrupt()
    with (
        EmbeddedBroker() as broker,
        _subscribed(broker.port, heard) as client,
        tempfile.TemporaryDirectory() as kept,
        tempfile.TemporaryFile("w+") as log,
    ):
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", str(config), "--broker", broker.url],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Neither the modules of the folder we are in, nor what another demo left behind.
            env=os.environ
            | {"PYTHONSAFEPATH": "1", "STATE_DIRECTORY": kept, "RUNTIME_DIRECTORY": kept},
            start_new_session=True,  # Ctrl-C is ours; the daemon then gets SIGTERM
        )
        try:
            with View(broker.port, face) as view:
                _wait_for_the_first(heard, daemon, view, interrupted)
                until = time.monotonic() + (args.seconds or float("inf"))
                while time.monotonic() < until and not interrupted and daemon.poll() is None:
                    _show(heard, view, snapshot)
                    if snapshot is not None and view.results >= SNAPSHOT_AFTER:
                        snapshot.ask(client)
                ended_early = daemon.poll() is not None
                daemon.send_signal(signal.SIGTERM)
                _follow_to_the_end(heard, view)
            if daemon.wait(STOP_LIMIT_S) or ended_early:
                raise EdgeError(f"the daemon ended early; it said:\n{_tail(log)}")
        finally:
            daemon.kill()
            daemon.wait()
        view.summarize()
    if snapshot is not None:
        snapshot.must_be_there()
    return 0


class _Snapshot:
    """A picture asked for over MQTT, as anybody could, and put into a file."""

    def __init__(self, path: Path, pipeline: str) -> None:
        if path.suffix.lower() not in {".jpg", ".jpeg"}:
            raise ConfigError(f"--snapshot writes a JPEG: {path} must end in .jpg or .jpeg")
        if not path.parent.is_dir():
            raise ConfigError(f"--snapshot: there is no folder {path.parent}")
        self._path, self._pipeline = path, pipeline
        self._asked = self._written = False
        self._refused = ""

    def ask(self, client: "Client") -> None:
        """Ask for it, once."""
        if not self._asked:
            self._asked = True
            request = json.dumps({"pipeline": self._pipeline})
            client.publish(f"edge/{DEVICE}/command/snapshot", request, qos=1)

    def take(self, topic: str, payload: Any) -> None:
        """Write the picture when it is there, and heed what is answered."""
        if topic == f"{self._pipeline}/snapshot" and not self._written:
            try:
                self._path.write_bytes(payload)
            except OSError as error:
                raise EdgeError(f"{self._path}: cannot be written: {error.strerror}") from error
            self._written = True
        elif topic.endswith("/answer") and not payload["done"]:
            self._refused = payload["message"]

    def must_be_there(self) -> None:
        """Say where it is. Raises EdgeError where there is none."""
        if not self._written:
            why = self._refused or "the demo ended before it came"
            raise EdgeError(f"{self._path}: there is no picture: {why}")
        print(f"{self._path}: a frame and what was found in it")


class _Interrupt:
    """Turns Ctrl-C, SIGTERM and a closed terminal into a truth, so that all ends in order."""

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self._came = True

    def __bool__(self) -> bool:
        return self._came


@contextmanager
def _subscribed(port: int, heard: "queue.SimpleQueue[Heard]") -> Iterator["Client"]:
    """Subscribe to all of the device's topics, as any client could; yield the client."""
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion

    from edge.mqtt.repeats import Repeats

    base, repeats = f"edge/{DEVICE}/", Repeats()

    def take(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        topic = message.topic.removeprefix(base)
        if topic.endswith("/snapshot"):
            if not topic.startswith("command/"):
                heard.put((topic, message.payload))
            return
        text = message.payload.decode()
        said: Any = text if topic == "status" else json.loads(text)
        if topic.endswith("/predictions"):
            number = (said["device"], said["pipeline"], said["boot"], said["sequence"])
            if repeats.seen(*number):  # QoS 1 may deliver a message twice
                return
        heard.put((topic, said))

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.subscribe(f"{base}#", qos=1)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def _wait_for_the_first(
    heard: "queue.SimpleQueue[Heard]",
    daemon: "subprocess.Popen[bytes]",
    view: Any,
    interrupted: _Interrupt,
) -> None:
    """Wait until predictions arrive, or the daemon ends, or patience does."""
    patience = time.monotonic() + START_LIMIT_S
    while not view.results and daemon.poll() is None and not interrupted:
        if time.monotonic() > patience:
            raise EdgeError(f"no prediction arrived within {START_LIMIT_S:g} s")
        _show(heard, view)


def _show(heard: "queue.SimpleQueue[Heard]", view: Any, snapshot: _Snapshot | None = None) -> None:
    """Show one message, if one comes within a moment."""
    with suppress(queue.Empty):
        topic, payload = heard.get(timeout=0.1)
        if snapshot is not None:
            snapshot.take(topic, payload)
        view.take(topic, payload)


def _follow_to_the_end(heard: "queue.SimpleQueue[Heard]", view: Any) -> None:
    """Go on showing until the device says that it is offline."""
    patience = time.monotonic() + STOP_LIMIT_S
    while view.online and time.monotonic() < patience:
        _show(heard, view)


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return "".join(log.readlines()[-LAST_LINES:]).rstrip()
