"""`batch:` of a pipeline in a daemon: frames that share forward passes, and lose nothing by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from parties import Daemon, Listener, Mosquitto, device

from edge.engines.choose import choose
from edge.engines.engine import Engine

ROOT = Path(__file__).parents[2]
SHEET, SIDE = ROOT / "models/digits/held-out.png", 8
MODEL = f"""
    model:
      path: {ROOT}/models/digits/digits.tflite
      labels: {ROOT}/models/digits/labels.txt"""
Start = Callable[..., Daemon]


def source(fps: float) -> str:
    return f"{{type: images, path: {SHEET}, tile: {SIDE}, truth: list, fps: {fps}, loop: true}}"


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """What the model says of each held-out digit when it runs alone, by `file`."""
    sheet = cv2.imread(str(SHEET), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    tiles = sheet.reshape(-1, SIDE, sheet.shape[1] // SIDE, SIDE).swapaxes(1, 2)
    inputs = (tiles.reshape(-1, 1, SIDE, SIDE, 1).astype("int16") - 128).astype("int8")
    engine = Engine(ROOT / "models/digits/digits.tflite", choose("litert"), threads=1)
    best = [str(int(np.argmax(engine.run(each)[0]))) for each in inputs]
    return {f"{SHEET}#{number}": label for number, label in enumerate(best)}


def assert_whole(
    results: list[Any], dropped: dict[str, int], answers: dict[str, str], *, in_hand: int
) -> None:
    """Each frame was answered, rightly and in order, or counted as dropped: once.

    `in_hand` is how many frames there can be that came after the last answer.
    """
    wrong = [each for each in results if each["predictions"][0]["label"] != answers[each["file"]]]
    assert not wrong
    frames = [each["frame"] for each in results]
    assert frames == sorted(set(frames))
    behind_the_last = len(frames) + sum(dropped.values()) - (frames[-1] + 1)
    assert 0 <= behind_the_last <= in_hand


def test_frames_of_a_source_share_forward_passes_and_none_is_lost(
    broker: Mosquitto, listener: Listener, start: Start, answers: dict[str, str]
) -> None:
    daemon = start(
        device(
            broker,
            f"""  digits:
    source: {source(200)}
    deadline_ms: 2000
    batch: {{max_size: 4, max_wait_ms: 500}}{MODEL}
""",
        ),
        *("--max-frames", "400"),
    )
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    results = listener.of("digits/predictions")
    last = listener.of("digits/metrics")[-1]
    assert len(results) == last["frames_total"] == 400
    assert last["deadline_misses_total"] == 0
    assert_whole(results, last["dropped_total"], answers, in_hand=0)
    sizes = [each["batch"] for each in results]
    assert max(sizes) == 4
    assert sizes.count(4) > 40  # nearly all of them where the machine is not busy
    for first, each in enumerate(results):  # all of a batch stand together, with one pass's time
        if each["batch"] == 4 and (first == 0 or results[first - 1]["batch"] != 4):
            together = results[first : first + 4]
            assert {other["latency_ms"]["inference"] for other in together} == {
                each["latency_ms"]["inference"]
            }
    engine = listener.wait_for("/info", lambda i: i["pipelines"]["digits"]["engine"])
    assert engine["pipelines"]["digits"]["engine"]["batch"] == 4


def test_several_sources_share_forward_passes_and_each_keeps_its_order(
    broker: Mosquitto, listener: Listener, start: Start, answers: dict[str, str]
) -> None:
    rates = {"north": 90, "east": 60, "south": 30}
    sources = "".join(f"\n      {name}: {source(fps)}" for name, fps in rates.items())
    daemon = start(
        device(
            broker,
            f"""  yard:
    sources:{sources}
    deadline_ms: 2000
    batch: {{max_size: 4, max_wait_ms: 100}}{MODEL}
""",
        ),
        *("--max-frames", "360"),
    )
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    last = listener.of("yard/metrics")[-1]
    assert last["deadline_misses_total"] == 0
    batches: dict[str, list[int]] = {}
    for name in rates:
        results = listener.of(f"yard/{name}/predictions")
        figures = last["sources"][name]
        assert len(results) == figures["frames_total"] > 30
        assert_whole(results, figures["dropped_total"], answers, in_hand=4)
        batches[name] = [each["batch"] for each in results]
    assert sum(len(sizes) for sizes in batches.values()) == 360
    assert all(max(sizes) > 1 for sizes in batches.values()), batches
    for size in (2, 3, 4):  # each pass of so many answered so many
        shared = sum(sizes.count(size) for sizes in batches.values())
        assert shared % size == 0 or 360 % size, batches


def test_a_model_that_cannot_be_batched_says_so_once_and_runs_one_at_a_time(
    broker: Mosquitto, listener: Listener, start: Start, testdata: Path
) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    daemon = start(
        device(
            broker,
            f"""  fixed:
    source: {{type: synthetic, width: 128, height: 128, fps: 100}}
    model: {{path: {model}}}
    deadline_ms: 2000
    batch: {{max_size: 4, max_wait_ms: 1000}}
""",
        ),
        *("--max-frames", "60"),
    )
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    (told,) = (e for e in listener.of("fixed/events") if e["event"] == "not_permitted")
    assert told["message"].startswith("`batch` was not granted, frames are run one at a time: ")
    assert f"{model}: cannot run several frames in one forward pass" in told["message"]
    info = listener.wait_for("/info", lambda each: each["pipelines"]["fixed"]["engine"])
    assert info["pipelines"]["fixed"]["engine"]["batch"] == 1
    results = listener.of("fixed/predictions")
    assert [each["batch"] for each in results] == [1] * 60
    # None waits for others that could not join it: a second of that would show.
    assert min(each["latency_ms"]["wait"] for each in results) < 500
