"""The stage: a daemon with three pipelines, its broker, its cameras, its disk and its clock."""

from __future__ import annotations

import ctypes
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from emulated_camera import EmulatedCamera, compile_library
from mjpeg_stream import MjpegStream
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from parties import Mosquitto
from proxy import Proxy
from shifted_clock import ShiftedClock

from fault_injection.ledger import Ledger, Witness
from fault_injection.manager import WATCHDOG_S, ServiceManager
from fault_injection.sanity import RATE, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.properties import Properties
    from typing_extensions import Self

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "models" / "digits"
NICENESS = {"steady": 1, "camera": 2, "stream": 3}
"""Of each pipeline's worker, by which the harness knows it."""
DEVICE = "struck"
STATE_BYTES, RUNTIME_BYTES = 6_000_000, 4_000_000
PATIENCE_S = 30.0
CLONE_NEWNS = 0x20000  # unshare(2)
ONE_BY_ONE = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0"


class Scene:
    """All parties, for as long as the `with` lasts."""

    def __init__(
        self, folder: Path, mosquitto: str, compiler: str, *, mounts: bool, patience: float = 1
    ) -> None:
        """With `mounts` state and runtime directory are file systems of their own, and small.

        `patience` stretches what depends on how fast the machine is.
        """
        self.folder, self.patience = folder, patience
        self.timeline: list[tuple[float, str]] = []
        self.clock = Clock()
        self.ledger = Ledger(self.clock)
        self.broker = Mosquitto(mosquitto, folder, ONE_BY_ONE)
        self.proxy = Proxy(self.broker.port)
        self.witness = Witness(folder / "said.jsonl", self.ledger)
        self.state, self.runtime = Disk(folder / "state", mounts), Disk(folder / "run", mounts)
        self._camera = EmulatedCamera(compile_library(compiler, folder), folder)
        self.wall = ShiftedClock(compiler, folder)
        self.config = folder / "device.yaml"
        self.configuring = threading.Lock()
        self.strikes = 0
        """How many workers were struck so that another had to take their place."""
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for disk, most in ((self.state, STATE_BYTES), (self.runtime, RUNTIME_BYTES)):
                opened.enter_context(disk.mounted(most))
            self.broker.start()
            opened.callback(self.broker.kill)
            opened.enter_context(self.proxy)
            self.subscriber = Subscriber(self.broker.port, self.ledger)
            opened.callback(self.subscriber.close)
            self.subscriber.wait()
            sheet = cv2.imread(str(DIGITS / "held-out.png"))
            assert sheet is not None
            pictures = [cv2.resize(sheet[:8, 8 * n : 8 * n + 8], (64, 64)) for n in range(20)]
            self._pictures = pictures
            jpegs = [cv2.imencode(".jpg", each)[1].tobytes() for each in pictures]
            self.stream = MjpegStream(jpegs, RATE)
            opened.callback(self.stream.vanish)
            self.plug_in()
            self.configure()
            self.manager = ServiceManager(
                self.config,
                self.folder,
                self._environ(),
                died=lambda: self.note(f"accepted until then: {self.witness.read(killed=True)}"),
                note=self.note,
                problem=self.ledger.problem,
                watchdog_s=WATCHDOG_S * self.patience,
            )
            self.manager.start()
            opened.callback(self.manager.stop)
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _environ(self) -> dict[str, str]:
        camera, wall = self._camera.environ, self.wall.environ
        return {
            "STATE_DIRECTORY": str(self.state.path),
            "RUNTIME_DIRECTORY": str(self.runtime.path),
            "EMULATED_CAMERA": camera["EMULATED_CAMERA"],
            "SHIFTED_CLOCK": wall["SHIFTED_CLOCK"],
            "LD_PRELOAD": f"{wall['LD_PRELOAD']}:{camera['LD_PRELOAD']}",
            "EDGE_WORKER_ENVIRONMENT": "EMULATED_CAMERA,SHIFTED_CLOCK",
        }

    def note(self, what: str) -> None:
        """Put into the timeline what happens now."""
        self.timeline.append((time.monotonic(), what))

    def plug_in(self) -> None:
        """Let the camera be there."""
        self._camera.plug_in(self._pictures, fps=RATE)

    def unplug(self) -> None:
        """Let the camera be gone."""
        self._camera.unplug()

    @contextmanager
    def camera_trouble(self) -> Iterator[None]:
        """Let the camera give no frames for as long as the `with` lasts."""
        self._camera.have("stall")
        try:
            yield
        finally:
            self._camera.have("stall", on=False)

    def configure(self, *, fps: float = RATE, interval_s: float = 1, more: bool = False) -> None:
        """Write the device's YAML in one stroke."""
        self.write_config(f"""
device: {DEVICE}
mqtt: {{broker: "{self.proxy.url}", keepalive_s: 5}}
telemetry: {{interval_s: {interval_s}}}
recorder: {{keep: 3, max_mb: 1}}
commands: {{allow: all, per_second: 50}}
sinks:
  - type: jsonl
    path: "{self.folder}/said.jsonl"
    messages: [predictions, events]
    max_bytes: 1000000000
pipelines:
  steady:
    source: {{type: images, path: "{DIGITS}/held-out.png", tile: 8, fps: {fps}, loop: true}}
    {self._rest("steady")}
  camera:
    source: {{type: camera, device: "{self._camera.node}"}}
    {self._rest("camera")}
  stream:
    source: {{type: video, path: "{self.stream.url}"}}
    {self._rest("stream")}
{self._more() if more else ""}""")

    def _more(self) -> str:
        return f"  more:\n    source: {{type: synthetic, fps: 10}}\n    {self._rest('more')}\n"

    def _rest(self, name: str) -> str:
        return (
            f'model: {{path: "{DIGITS}/digits.tflite", labels: "{DIGITS}/labels.txt"}}\n'
            f"    deadline_ms: 1000\n    cpu: {{nice: {NICENESS.get(name, 4)}}}"
        )

    def write_config(self, text: str) -> None:
        """Write any YAML in one stroke."""
        beside = self.config.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.config)

    def worker(self, pipeline: str) -> int:
        """Return the process id of a pipeline's worker. Raises TimeoutError where none comes."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            pid = self.manager.workers().get(NICENESS[pipeline])
            if pid is not None:
                return pid
            time.sleep(0.05)
        raise TimeoutError(f"{pipeline} has no worker for {PATIENCE_S:g} s")

    def replace_broker(self, away_s: float) -> None:
        """Kill the broker and start it on the same port; our own subscriber is there first."""
        self.broker.kill()
        time.sleep(away_s)
        self.subscriber.forget()
        self.broker.start()
        self.subscriber.wait()


class Subscriber:
    """Hears all that the device says, from the broker itself, and can say something."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.on_connect = lambda client, *_: client.subscribe(f"edge/{DEVICE}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
        self._ledger = ledger
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _heard(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        with suppress(UnicodeDecodeError):
            levels = message.topic.split("/")
            if "command" not in levels or levels[-3] == "command":  # what others say to the device
                self._ledger.take(message.topic, bytes(message.payload))

    def forget(self) -> None:
        """Hear that the broker is gone, and our subscription with it."""
        self._subscribed.clear()

    def wait(self) -> None:
        """Wait until we are subscribed. Raises TimeoutError."""
        if not self._subscribed.wait(PATIENCE_S):
            raise TimeoutError("the broker takes no subscriber")

    def command(self, name: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish to a command topic."""
        self.publish(f"edge/{DEVICE}/command/{name}", payload, qos=qos, retain=retain)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Publish anything."""
        self._client.publish(topic, payload, qos, retain, properties)

    def close(self) -> None:
        """Hear no more."""
        self._client.disconnect()
        self._client.loop_stop()


class Disk:
    """A folder; it can be full, or read-only, where it is a file system of its own."""

    def __init__(self, path: Path, own: bool) -> None:
        self.path = path
        self.own = own
        """Whether it is a file system of its own."""
        self._ballast = path / "ballast"

    @contextmanager
    def mounted(self, most_bytes: int) -> Iterator[None]:
        """Be there, with so much room."""
        self.path.mkdir()
        if self.own:
            options = f"size={most_bytes},mode=700"
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], check=True
            )
        try:
            yield
        finally:
            if self.own:
                _run("umount", "--lazy", self.path)

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, *, on: bool) -> bool:
        """Let nothing be written there, or again; False where somebody is writing."""
        return _run("mount", "-o", "remount," + ("ro" if on else "rw"), self.path)


def _run(*command: str | Path) -> bool:
    return not subprocess.run([*map(str, command)], capture_output=True, check=False).returncode


def own_mounts() -> bool:
    """Let what we mount from here on be seen by us and our children alone; False if we may not."""
    unshared = not ctypes.CDLL(None).unshare(CLONE_NEWNS)
    return unshared and _run("mount", "--make-rprivate", "/")
