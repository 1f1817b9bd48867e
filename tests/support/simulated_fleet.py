"""A fleet that is not there: what its devices would say over MQTT, through one client."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from parties import PATIENCE_S

from edge.latency.figures import Figures
from edge.latency.histogram import Histogram
from edge.messages import STAGES, Event, Metrics, Percentiles, status_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

SECOND_NS = 10**9
REPEATED_S = 0.2
AT = "2026-11-25T08:00:00.000Z"


class SimulatedDevice:
    """A device with one pipeline, whose latencies are drawn and remembered."""

    def __init__(self, name: str, *, base: str = "edge", seed: int = 0) -> None:
        self.name = name
        self.base = base
        self.boot = f"boot of {name}"
        self.samples_us: list[int] = []
        """Every latency it has reported, over all its time."""
        self._random = random.Random(f"{seed} {name}")  # noqa: S311
        self._now_ns = 0
        self._figures = Figures(100, now_ns=0)
        self._median_us = self._random.uniform(5_000, 50_000)

    @property
    def status(self) -> str:
        """The topic of its status."""
        return status_topic(self.base, self.name)

    def work(self, frames: int, *, seconds: float = 10) -> None:
        """Answer so many frames within so many seconds."""
        for _ in range(frames):
            latency_us = round(self._random.lognormvariate(0, 0.4) * self._median_us)
            self.samples_us.append(latency_us)
            self._figures.result(dict.fromkeys(STAGES, 0) | {"inference": latency_us * 1000})
        self._now_ns += round(seconds * SECOND_NS)

    def metrics(self, pipeline: str = "main", **fields: Any) -> tuple[str, bytes]:
        """Close the window; return the topic and payload of its metrics."""
        window = self._figures.end_window(self._now_ns)
        total = self._figures.total
        nothing = Percentiles(count=0, mean=None, p50=None, p90=None, p95=None, p99=None, max=None)
        message = Metrics(
            device=self.name,
            boot=self.boot,
            pipeline=pipeline,
            state="running",
            at=AT,
            clock_synced=True,
            window_s=window.seconds,
            frames=window.counts.frames,
            frames_total=total.frames,
            fps=window.fps,
            dropped=window.counts.drops(),
            dropped_total=total.drops(),
            failed=0,
            failed_total=0,
            deadline_ms=100,
            deadline_misses=window.counts.misses,
            deadline_misses_total=total.misses,
            deadline_blame=window.blamed,
            latency_ms=window.latency,
            latency_recent_ms=window.recent,
            latency_total_ms=window.total,
            stages_ms=dict.fromkeys(STAGES, nothing),
            acknowledged_ms=nothing,
            cache=None,
            sources=None,
            rung=0,
            rung_name="full",
            ladder=None,
            accelerator=None,
            shadow=None,
            rss_bytes=50_000_000,
            supervisor_rss_bytes=40_000_000,
            temperature_c=None,
            waiting=0,
            spooled=0,
            undelivered_total=0,
        )
        message = replace(message, **fields)
        return message.topic(self.base), message.to_json()

    def event(self, sequence: int, message: str, pipeline: str = "main") -> tuple[str, bytes]:
        """Return the topic and payload of an event."""
        event = Event(
            device=self.name,
            boot=self.boot,
            pipeline=pipeline,
            sequence=sequence,
            at=AT,
            clock_synced=True,
            event="deadline_missed",
            message=message,
        )
        return event.topic(self.base), event.to_json()


def pooled(devices: list[SimulatedDevice]) -> Histogram:
    """Return one histogram that has recorded every sample of all these devices."""
    histogram = Histogram()
    for device in devices:
        for sample_us in device.samples_us:
            histogram.record(sample_us)
    return histogram


class Crowd:
    """One client that says what many devices say."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        """Publish a message and wait until it has left us, with QoS 1 until the broker has it."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def say_all(self, messages: Sequence[tuple[str, bytes | str]], *, retain: bool = False) -> None:
        """Publish many, and wait for the last."""
        said = [self._client.publish(topic, payload, 1, retain) for topic, payload in messages]
        for each in said:
            each.wait_for_publish(PATIENCE_S)

    def repeat(self, messages: list[tuple[str, bytes]]) -> None:
        """Publish these several times a second until the end."""

        def talk() -> None:
            while not self._ended.wait(REPEATED_S):
                for topic, payload in messages:
                    self._client.publish(topic, payload, 0)

        self._threads.append(threading.Thread(target=talk))
        self._threads[-1].start()
