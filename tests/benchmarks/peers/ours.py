"""Our daemon's turn: `edge run` as its user starts it, told by its own metrics.

Latencies, counts and stages come from the metrics message (its histogram of one window), CPU
time and memory from the kernel, of the supervisor and its workers, when that message arrives.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram
from peers.children import LeftOutError
from peers.feeds import PICTURES
from peers.stopwatch import WARM_UP_S, pss_bytes
from peers.turn import Turn

if TYPE_CHECKING:
    from peers.plan import Setting

TOPIC = "edge/bench/p"
WINDOWS = 2  # metrics messages that make a turn, after the one that holds start and warm-up
SLOWEST_START_S = 60


class Told(NamedTuple):
    """A metrics message, and the CPU time of all our processes when it came."""

    metrics: dict[str, Any]
    after_s: float
    """Seconds since the daemon was started."""
    cpu_ns: int


class Ours:
    """The daemon over one feed, with an interpolation that may be named."""

    def __init__(self, interpolation: str | None = None) -> None:
        self._interpolation = interpolation

    def __call__(self, setting: Setting) -> Turn:
        """Run it. Raises LeftOutError when it cannot, with its last words."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "device.yaml")
            config.write_text(yaml.safe_dump(self._config(setting)), encoding="utf-8")
            log = Path(folder, "log")
            run = _Run(config, log, setting.port)
            try:
                return run.turn(setting.seconds)
            except (queue.Empty, FileNotFoundError, ProcessLookupError):
                words = log.read_text().strip().splitlines() or ["not a word"]
                raise LeftOutError(f"edge run gave no figures: {words[-1]}") from None
            finally:
                run.end()

    def _config(self, setting: Setting) -> dict[str, Any]:
        folder = str(setting.frames / setting.feed)
        sources: dict[str, dict[str, Any]] = {
            "memory": {"type": "images", "path": folder, "loop": True},
            "jpeg": {"type": "images", "path": folder},
            "mjpeg": {"type": "video", "path": f"{folder}/video.avi", "loop": True, "fps": None},
        }
        source = sources[setting.feed]
        if setting.fps:
            source["fps"] = setting.fps
        model: dict[str, Any] = {"path": str(setting.model.resolve()), "threads": 1}
        if self._interpolation:
            model["interpolation"] = self._interpolation
        return {
            "device": "bench",
            "mqtt": {"broker": f"mqtt://127.0.0.1:{setting.port}"},
            # Few and long windows: the figures' own cost belongs to the turn, as it would be.
            "telemetry": {"interval_s": setting.seconds / WINDOWS},
            "pipelines": {"p": {"source": source, "model": model, "on_late": "run"}},
        }


class _Run:
    """A running daemon, and a client that hears its first predictions and all its metrics."""

    def __init__(self, config: Path, log: Path, port: int) -> None:
        self._told: queue.Queue[Told] = queue.Queue()
        self._answers: dict[int, int] = {}
        self._first: float | None = None
        self._pids: list[int] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.message_callback_add(f"{TOPIC}/predictions", self._predicted)
        self._client.message_callback_add(f"{TOPIC}/metrics", self._counted)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"{TOPIC}/predictions", 0), (f"{TOPIC}/metrics", 0)])
        self._client.loop_start()
        subscribed.wait(10)
        self._began = time.monotonic()
        with log.open("w") as file:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", str(config)], stdout=file, stderr=file
            )

    def turn(self, seconds: float) -> Turn:
        """Return the first windows after the one in which it started and warmed up."""
        before = self._told.get(timeout=SLOWEST_START_S + seconds)
        while self._first is None or before.after_s < self._first + WARM_UP_S:
            before = self._told.get(timeout=SLOWEST_START_S + seconds)
        after = [self._told.get(timeout=seconds + 10) for _ in range(WINDOWS)]
        windows = [told.metrics for told in after]
        dropped = windows[-1]["dropped_total"]
        lost = sum(dropped.values()) - sum(before.metrics["dropped_total"].values())
        stages = windows[-1]["stages_ms"]
        return Turn(
            Histogram.merged(decode(window["latency_ms"]["hdr"]) for window in windows),
            sum(window["window_s"] for window in windows),
            cpu_ns=after[-1].cpu_ns - before.cpu_ns,
            pss_bytes=sum(map(pss_bytes, self._pids)),
            first_s=self._first,
            answers=self._answers,
            extra={
                "stages, P50 ms": ", ".join(f"{k} {v['p50']}" for k, v in stages.items()),
                "acknowledged by the broker": f"P50 {windows[-1]['acknowledged_ms']['p50']} ms",
                "dropped": f"{lost}",
                "not acknowledged at the end": f"{windows[-1]['waiting']}",
            },
        )

    def end(self) -> None:
        """Stop the daemon and listen no more."""
        self._client.disconnect()
        self._client.loop_stop()  # before the processes go whose CPU time it asks for
        self._daemon.terminate()
        self._daemon.wait(30)

    def _predicted(self, client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if self._first is None:
            self._first = time.monotonic() - self._began
        result = json.loads(message.payload)
        number = re.search(r"(\d+)\.\w+$", result["file"] or "")
        frame = int(number[1]) if number else result["frame"]
        if result["predictions"]:
            self._answers.setdefault(frame % PICTURES, result["predictions"][0]["index"])
        if len(self._answers) == PICTURES:
            client.unsubscribe(message.topic)

    def _counted(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if not self._pids:
            pid = self._daemon.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            self._pids = [pid, *map(int, children)]
        try:
            spent_ns = sum(map(cpu_ns, self._pids))
        except OSError:
            return  # a worker died: there will be no turn, and the log says why
        after_s = time.monotonic() - self._began
        self._told.put(Told(json.loads(message.payload), after_s, spent_ns))


def cpu_ns(pid: int) -> int:
    """CPU time of a process and all its threads, those that ended too, in nanoseconds.

    The clock's number is what clock_getcpuclockid(3) gives on Linux (CPUCLOCK_SCHED).
    """
    return time.clock_gettime_ns((~pid << 3) | 2)
