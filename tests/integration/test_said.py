"""Whatever a daemon says fits the AsyncAPI document, on every topic."""

import signal
from collections.abc import Callable
from pathlib import Path

from parties import Daemon, Listener, Mosquitto, device
from topics import Topics

from edge.asyncapi import document

ROOT = Path(__file__).parents[2]


def test_all_that_is_said_in_a_run_fits_the_document(
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
    digits_30fps: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty.png").touch()
    model = f"model: {{path: {ROOT}/models/digits/digits.tflite}}"
    sheet = f"type: images, path: {ROOT}/models/digits/held-out.png, tile: 8, fps: 30, loop: true"
    text = device(
        broker,
        f"""
  plain: {digits_30fps}
  raw: {digits_30fps}
    decode: {{type: raw}}
    cache: {{mode: similar, similarity: 0.5}}
    ladder: {{rungs: [{{name: few, every: 2}}]}}
  two:
    sources: {{left: {{{sheet}}}, right: {{{sheet}}}}}
    {model}
  wrong:
    source: {{type: images, path: {tmp_path}/empty.png, fps: 5, loop: true}}
    {model}
""",
    )
    daemon = start(text)
    for topic in ("plain/predictions", "raw/predictions", "two/left/predictions"):
        listener.wait_for_many(topic, 10)
    listener.wait_for_many("raw/predictions", 1, lambda one: one["cached"] is not None)
    listener.wait_for_event("frame_failed")
    daemon.send(signal.SIGUSR1)
    listener.wait_for_event("trace_written")
    for pipeline in ("plain", "raw", "two"):
        listener.wait_for(f"{pipeline}/metrics")
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    topics = Topics(document())
    heard = list(listener.heard)
    for topic, payload, _ in heard:
        assert topics.errors(f"edge/{topic}", payload) == [], (topic, payload)
    assert {topics.channel(f"edge/{topic}") for topic, *_ in heard} >= {
        "pipelinePredictions",
        "pipelineSourcePredictions",
        "pipelineMetrics",
        "pipelineEvents",
        "events",
        "info",
        "status",
    }
