"""The parties of an integration test: a broker, a daemon, a listener. All of them are real."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from typing_extensions import Self

PATIENCE_S = 40.0  # for things that take a second on a quiet machine


def free_port() -> int:
    """Return a port nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise TimeoutError(f"nobody listens on port {port}")


class Mosquitto:
    """A broker that can be killed and started again on the same port."""

    def __init__(
        self, path: str, folder: Path, options: str = "allow_anonymous true\nmax_queued_messages 0"
    ) -> None:
        self._path = path
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{options}\n", encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [self._path, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def kill(self) -> None:
        """End it at once, with all it knows."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order: sessions are saved where `persistence` is set."""
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Heard(NamedTuple):
    """One message, its topic without `edge/`."""

    topic: str
    payload: Any
    retained: bool


class Listener:
    """Hears all topics and can wait for what it has not heard yet."""

    def __init__(self, port: int, topics: str = "edge/#") -> None:
        self._port = port
        self._topics = topics
        self._changed = threading.Condition()
        self.heard: list[Heard] = []

    def __enter__(self) -> Self:
        # A session that the broker keeps: what comes while we reconnect is delivered later.
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"listener-{id(self)}", clean_session=False
        )
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics, qos=1)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        text = message.payload.decode()
        topic = message.topic.removeprefix("edge/")
        payload = text if topic.endswith("/status") or not text else json.loads(text)
        with self._changed:
            self.heard.append(Heard(topic, payload, bool(message.retain)))
            self._changed.notify_all()

    def catch_up(self) -> None:
        """Wait until we are subscribed and have all that the broker had for us so far."""
        topic = f"marker-{time.monotonic_ns()}"
        end = time.monotonic() + PATIENCE_S
        while not self.of(topic):
            if time.monotonic() > end:
                raise TimeoutError(f"the broker on port {self._port} does not answer")
            if self._client.is_connected():
                self._client.publish(f"edge/{topic}", "{}", qos=0)
            with self._changed:
                self._changed.wait(0.1)

    def of(self, suffix: str) -> list[Any]:
        """Return the payloads heard so far on topics that end with `suffix`."""
        with self._changed:
            return [each.payload for each in self.heard if each.topic.endswith(suffix)]

    def wait_for(self, suffix: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the first payload, heard already or to come, that fits."""
        return self.wait_for_many(suffix, 1, fits)[0]

    def wait_for_many(
        self, suffix: str, count: int, fits: Callable[[Any], bool] = lambda _: True
    ) -> list[Any]:
        """Return the first `count` payloads that fit. Raises TimeoutError with what came."""
        end = time.monotonic() + PATIENCE_S
        with self._changed:
            while True:
                found = [
                    each.payload
                    for each in self.heard
                    if each.topic.endswith(suffix) and fits(each.payload)
                ]
                if len(found) >= count:
                    return found[:count]
                if not self._changed.wait(end - time.monotonic()):
                    raise TimeoutError(f"{len(found)} of {count} on {suffix}: {self.heard[-5:]}")

    def wait_for_event(self, event: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the payload of the first event of this name that fits."""
        return self.wait_for("/events", lambda e: e["event"] == event and fits(e))


class Daemon:
    """`edge run CONFIG` as its user starts it."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.config = config
        self._log = config.with_suffix(f".{time.monotonic_ns()}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", str(config), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        return self.process.wait(PATIENCE_S)

    def workers(self) -> list[int]:
        """Return the process ids of its workers, oldest first."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        named = [(int(child), Path(f"/proc/{child}/cmdline").read_bytes()) for child in children]
        return [child for child, command in named if b"edge.worker" in command]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        self._log.flush()
        return Path(self._log.name).read_text()

    def wait_for_log(self, words: str) -> None:
        """Wait until it has logged this. Raises AssertionError with what it logged instead."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.log:
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(self.log)
            time.sleep(0.02)

    def close(self) -> None:
        """End it and its workers, however they are."""
        if self.process.poll() is None:
            for worker in self.workers():
                os.kill(worker, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        self._log.close()


def device(broker: Mosquitto, pipelines: str, *, interval_s: float = 1) -> str:
    """Return the YAML of a device with these pipelines."""
    return (
        f"device: dev\nmqtt: {{broker: '{broker.url}'}}\n"
        f"telemetry: {{interval_s: {interval_s}}}\npipelines:\n{pipelines}"
    )
