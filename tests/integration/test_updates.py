"""Models over the air, with a real daemon, broker, web server and real models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from operators import Operator
from parties import device
from releases import Publisher, other_build, permuted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parties import Daemon, Mosquitto

COMMANDS = "commands: {allow: all, per_second: 100}\n"
QUICK = {"frames": 30, "share": 1.0, "probation_s": 0.5, "max_latency_ratio": 100.0}
"""A canary for a test: of the machine's speed it says nothing."""


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(tmp_path / "published") as running:
        yield running


@pytest.fixture
def operator(broker: Mosquitto) -> Iterator[Operator]:
    with Operator(broker.port) as running:
        yield running


@pytest.fixture
def text(broker: Mosquitto, publisher: Publisher, digits_30fps: str) -> str:
    faster = digits_30fps.replace("fps: 30", "fps: 60").replace(
        "deadline_ms: 1000", "deadline_ms: 5000"
    )
    return device(broker, f"  cam: {faster}\n") + COMMANDS + publisher.yaml


def events(operator: Operator) -> list[Any]:
    return [e for e in operator.of("edge/dev/cam/events") if e["event"].startswith("update_")]


def told(operator: Operator, event: str) -> Any:
    """Wait for an event of the pipeline; return it."""
    message = operator.wait_for(
        "edge/dev/cam/events", lambda m: json.loads(m.payload)["event"] == event
    )
    return json.loads(message.payload)


def answered_by(operator: Operator, digest: str) -> Any:
    """Wait for a result of this model."""
    return operator.wait_for(
        "edge/dev/cam/predictions", lambda m: json.loads(m.payload)["model_digest"] == digest
    )


def test_a_signed_model_is_fetched_tried_promoted_and_good(
    operator: Operator, publisher: Publisher, start: Callable[..., Daemon], text: str
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    card = publisher.publish("digits", other_build())
    answer = operator.ask("update-model", pipeline="cam", card=card, canary={**QUICK, "frames": 0})
    assert answer["done"], answer
    good = told(operator, "update_good")


    assert good
    answered_by(operator, good["details"]["model"])
