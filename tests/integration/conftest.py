"""A real broker, a real daemon, and somebody who listens."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parties import Daemon, Listener, Mosquitto

ROOT = Path(__file__).parents[2]
DIGITS = f"""
    model:
      path: {ROOT}/models/digits/digits.tflite
      labels: {ROOT}/models/digits/labels.txt
"""


@pytest.fixture
def broker(mosquitto: str, tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto of our own on a free port."""
    with Mosquitto(mosquitto, tmp_path) as running:
        yield running


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """A client that hears everything the device says."""
    with Listener(broker.port) as listening:
        yield listening


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start `edge run` on a YAML text; whatever still runs at the end is killed."""
    running: list[Daemon] = []

    def start_one(text: str, *arguments: str, name: str = "device.yaml") -> Daemon:
        config = tmp_path / name
        config.write_text(text, encoding="utf-8")
        running.append(Daemon(config, *arguments))
        return running[-1]

    yield start_one
    for daemon in running:
        daemon.close()


@pytest.fixture
def digits_30fps() -> str:
    """The options of a live pipeline over the held-out digits, at 30 frames a second."""
    return f"""
    source: {{type: images, path: {ROOT}/models/digits/held-out.png, tile: 8, truth: list,
             fps: 30, loop: true}}
    deadline_ms: 1000{DIGITS}"""
