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
from contextlib import contextmanager
from typing import IO, Any

from edge.errors import ConfigError, EdgeError

DEVICE = "demo"  # as in device_configs/demo.yaml
START_LIMIT_S, STOP_LIMIT_S = 30.0, 15.0
LAST_LINES = 10

Heard = tuple[str, Any]
"""A topic without its base and device, and its payload."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: no camera, no broker needed",
        description="Starts a broker on 127.0.0.1 and a free port, runs the daemon on a bundled "
        "model and pictures, and shows what arrives over MQTT.",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end after N seconds")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the demo until Ctrl-C or the time is over."""
    from edge.bundled_files import bundled
    from edge.cli.demo_view import View
    from edge.supervisor.broker import EmbeddedBroker

    if args.seconds is not None and not args.seconds > 0:
        raise ConfigError(f"--seconds must be more than 0, not {args.seconds:g}")
    config = bundled("device_configs/demo.yaml")
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    interrupted = _Interrupt()
    with (
        EmbeddedBroker() as broker,
        _subscribed(broker.port, heard),
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
            with View(broker.port) as view:
                _wait_for_the_first(heard, daemon, view, interrupted)
                until = time.monotonic() + (args.seconds or float("inf"))
                while time.monotonic() < until and not interrupted and daemon.poll() is None:
                    _show(heard, view)
                ended_early = daemon.poll() is not None
                daemon.send_signal(signal.SIGTERM)
                _follow_to_the_end(heard, view)
            if daemon.wait(STOP_LIMIT_S) or ended_early:
                raise EdgeError(f"the daemon ended early; it said:\n{_tail(log)}")
        finally:
            daemon.kill()
            daemon.wait()
        view.summarize()
    return 0


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
def _subscribed(port: int, heard: "queue.SimpleQueue[Heard]") -> Iterator[None]:
    """Subscribe to all of the device's topics, as any client could."""
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion

    from edge.mqtt.repeats import Repeats

    base, repeats = f"edge/{DEVICE}/", Repeats()

    def take(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        topic = message.topic.removeprefix(base)
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
        yield
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


def _show(heard: "queue.SimpleQueue[Heard]", view: Any) -> bool:
    """Show one message; False when none came for a moment."""
    try:
        topic, payload = heard.get(timeout=0.1)
    except queue.Empty:
        return False
    view.take(topic, payload)
    return True


def _follow_to_the_end(heard: "queue.SimpleQueue[Heard]", view: Any) -> None:
    """Go on showing until the device says that it is offline."""
    patience = time.monotonic() + STOP_LIMIT_S
    while view.online and time.monotonic() < patience:
        _show(heard, view)


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return "".join(log.readlines()[-LAST_LINES:]).rstrip()
