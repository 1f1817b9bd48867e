"""The daemon with the camera of a Raspberry Pi; picamera2 itself is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
from fake_picamera import FakePicamera
from parties import Daemon, Listener, Mosquitto, device

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePicamera:
    pi = FakePicamera(tmp_path)
    for name, value in pi.environ.items():
        monkeypatch.setenv(name, value)
    return pi


@pytest.mark.parametrize("kind", ["picamera", "camera"])
def test_frames_of_the_pis_camera_are_answered_right_and_in_time(
    kind: str,
    pi: FakePicamera,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
    testdata: Path,
) -> None:
    picture = cv2.imread(str(testdata / "images" / "cat_720p.jpg"))
    assert picture is not None
    pi.plug_in(picture, exposure_us=10_000)
    model = testdata / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    daemon = start(
        device(
            broker,
            f"""  porch:
    source: {{type: {kind}, fps: 5}}
    model: {{path: {model}, resize: crop}}
    deadline_ms: 2000
""",
        ),
        "--max-frames",
        "8",
    )
    assert daemon.wait() == 0, daemon.log
    results = listener.wait_for_many("porch/predictions", 8)
    expected = json.loads((testdata / "expected.json").read_text(encoding="utf-8"))
    (case,) = [
        case
        for case in expected["classification"]
        if case["image"] == "cat_720p.jpg" and case["model"] == model.name
    ]
    for result in results:
        assert result["source"] == kind
        assert result["predictions"][0]["index"] == case["top"][0]
        assert result["latency_ms"]["capture"] > 10, "the exposure is part of it"


def test_a_camera_that_falls_silent_is_lost_and_comes_back(
    pi: FakePicamera,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
) -> None:
    digits = f"model: {{path: {ROOT}/models/digits/digits.tflite}}"
    start(device(broker, f"  porch:\n    source: {{type: picamera}}\n    {digits}\n"))
    lost = listener.wait_for_event("source_lost")
    assert "libcamera finds no camera" in lost["message"]
    picture = cv2.imread(str(ROOT / "models" / "digits" / "held-out.png"))
    assert picture is not None
    pi.plug_in(picture)
    listener.wait_for_event("source_back")
    listener.wait_for_many("porch/predictions", 5)
    pi.have("stall")
    listener.wait_for_event("source_lost", lambda event: "no more frames" in event["message"])
    pi.have("stall", on=False)
    listener.wait_for_many("porch/events", 2, lambda event: event["event"] == "source_back")
    before = len(listener.of("porch/predictions"))
    listener.wait_for_many("porch/predictions", before + 5)
