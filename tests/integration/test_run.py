"""`edge run` on a quiet day: what arrives, in which order, and how it ends."""

import itertools
import json
import os
import select
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from parties import Daemon, Listener, Mosquitto, device, free_port, wait_for_port
from pydantic import TypeAdapter

from edge.health import Health
from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram
from edge.messages import Event, Info, Metrics, Result

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    "predictions": TypeAdapter(Result).json_schema(),
    "metrics": TypeAdapter(Metrics).json_schema(),
    "events": TypeAdapter(Event).json_schema(),
    "info": TypeAdapter(Info).json_schema(),
    "health": TypeAdapter(Health).json_schema(),
}

Start = Callable[..., Daemon]


def test_every_message_fits_the_schema_of_its_topic(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  digits: {digits_30fps}"), "--max-frames", "120")
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    kinds = set()
    for heard in listener.heard:
        kind = heard.topic.rpartition("/")[2]
        kinds.add(kind)
        if kind != "status":
            jsonschema.validate(heard.payload, SCHEMAS[kind])
    assert kinds == {"predictions", "metrics", "events", "info", "status", "health"}


def test_results_are_numbered_without_gaps_and_say_when_they_were_captured(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    start(device(broker, f"  digits: {digits_30fps}"), "--max-frames", "60").wait()
    results = listener.wait_for_many("digits/predictions", 60)
    assert [result["sequence"] for result in results] == list(range(60))
    frames = [result["frame"] for result in results]
    assert frames == sorted(set(frames))
    moments = [result["captured_at"] for result in results]
    assert moments == sorted(moments)
    for result in results:
        latency = dict(result["latency_ms"])
        assert latency.pop("total") == pytest.approx(sum(latency.values()), abs=0.01)
    right = sum(result["predictions"][0]["label"] == result["truth"] for result in results)
    assert right >= 57


def test_windows_add_up_to_the_total_and_their_histograms_merge_to_it(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    start(device(broker, f"  digits: {digits_30fps}", interval_s=0.5), "--max-frames", "110").wait()
    listener.wait_for("dev/status", lambda word: word == "offline")
    windows = listener.of("digits/metrics")
    assert len(windows) >= 3
    last = windows[-1]
    assert last["frames_total"] == sum(window["frames"] for window in windows) == 110
    merged = Histogram.merged(decode(window["latency_ms"]["hdr"]) for window in windows)
    assert merged == decode(last["latency_total_ms"]["hdr"])
    assert last["latency_total_ms"]["p99"] == merged.percentile(99) / 1000
    assert last["latency_total_ms"]["p99_9"] is None  # 110 samples cannot say
    assert windows[0]["latency_ms"]["p99"] is None
    for name in ("mailbox", "deadline", "source"):
        total = sum(window["dropped"][name] for window in windows)
        assert last["dropped_total"][name] == total


def test_a_folder_without_fps_is_answered_once_in_order_and_the_daemon_ends(
    broker: Mosquitto, listener: Listener, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(25):
        picture = np.full((16, 16, 3), number * 10, np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), picture)
    shutil.copy(ROOT / "LICENSE", folder / "07-broken.png")
    (folder / "08-empty.jpg").touch()
    daemon = start(
        device(
            broker,
            f"""  all:
    source: {{type: images, path: {folder}}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
    deadline_ms: 0.001
""",
        )
    )
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    results = listener.of("all/predictions")
    assert [Path(result["file"]).stem for result in results] == [f"{n:02}" for n in range(25)]
    assert not any(result["deadline_met"] for result in results)  # run all the same: it is pulled
    failures = [e for e in listener.of("all/events") if e["event"] == "frame_failed"]
    assert [Path(failure["details"]["file"]).name for failure in failures] == [
        "07-broken.png",
        "08-empty.jpg",
    ]
    assert listener.of("all/metrics")[-1]["failed_total"] == 2
    assert listener.of("all/metrics")[-1]["deadline_misses_total"] == 25


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(
    number: signal.Signals,
    broker: Mosquitto,
    listener: Listener,
    start: Start,
    digits_30fps: str,
) -> None:
    daemon = start(device(broker, f"  digits: {digits_30fps}"))
    listener.wait_for_many("digits/predictions", 5)
    workers = daemon.workers()
    daemon.send(number)
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    with Listener(broker.port) as late:
        assert late.wait_for("dev/status") == "offline"
        assert next(heard for heard in late.heard if heard.topic == "dev/status").retained
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    sequence = [result["sequence"] for result in listener.of("digits/predictions")]
    assert sequence == list(range(len(sequence)))


def test_the_broker_says_offline_for_a_daemon_that_was_killed(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  digits: {digits_30fps}"))
    listener.wait_for_many("digits/predictions", 3)
    workers = daemon.workers()
    daemon.send(signal.SIGKILL)
    listener.wait_for("dev/status", lambda word: word == "offline")
    for worker in workers:  # a worker without its supervisor ends by itself
        wait_until_gone(worker)


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([watched], [], [], 20)[0], "the worker outlived its supervisor"
    os.close(watched)


def test_info_tells_engine_model_and_why(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    start(device(broker, f"  digits: {digits_30fps}"))
    info = listener.wait_for("dev/info", lambda i: i["pipelines"]["digits"]["state"] == "running")
    pipeline = info["pipelines"]["digits"]
    assert pipeline["engine"]["name"] == "litert"
    assert pipeline["engine"]["reason"].startswith("auto: ")
    assert pipeline["model"]["inputs"] == ["int8 [1, 8, 8, 1]"]
    assert len(pipeline["model"]["digest"]) == 64
    assert info["packages"]["numpy"]


def test_only_changes_are_published_where_that_is_asked(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    pipelines = f"  digits: {digits_30fps}    publish: {{when: changed}}\n"
    start(device(broker, pipelines), "--max-frames", "60").wait()
    results = listener.wait_for_many("digits/predictions", 30)
    labels = [result["predictions"][0]["label"] for result in results]
    assert all(one != other for one, other in itertools.pairwise(labels))
    assert [result["sequence"] for result in results] == list(range(30))


def test_results_keep_the_interval_that_is_asked(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    pipelines = f"  digits: {digits_30fps}    publish: {{min_interval_ms: 400}}\n"
    start(device(broker, pipelines), "--max-frames", "60").wait()
    listener.wait_for("dev/status", lambda word: word == "offline")
    results = listener.of("digits/predictions")
    assert 3 <= len(results) <= 7
    assert listener.of("digits/metrics")[-1]["frames_total"] == 60


def test_a_model_slower_than_its_camera_drops_frames_and_misses_nothing(
    broker: Mosquitto, listener: Listener, start: Start, testdata: Path
) -> None:
    daemon = start(
        device(
            broker,
            f"""  slow:
    source: {{type: synthetic, width: 320, height: 240, fps: 400}}
    model: {{path: {testdata}/models/mobilenet_v2_1.0_224_quant.tflite}}
    deadline_ms: 5000
""",
        ),
        *("--max-frames", "100"),
    )
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    last = listener.of("slow/metrics")[-1]
    frames = [result["frame"] for result in listener.of("slow/predictions")]
    dropped = last["dropped_total"]
    assert dropped["mailbox"] > 20
    assert last["deadline_misses_total"] == 0
    # Every frame between the first and the last was answered or counted as dropped; so were
    # those that came during the last forward pass.
    windows = [each["stages_ms"]["inference"]["max"] for each in listener.of("slow/metrics")]
    behind_the_last = 0.4 * max(each or 0 for each in windows) + 3
    counted = len(frames) + sum(dropped.values()) - (frames[-1] - frames[0] + 1)
    assert 0 <= counted <= behind_the_last


def test_a_hopeless_deadline_drops_frames_before_the_forward_pass(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    pipelines = f"  digits: {digits_30fps}".replace("deadline_ms: 1000", "deadline_ms: 0.001")
    start(device(broker, pipelines), "--max-seconds", "4").wait()
    listener.wait_for("dev/status", lambda word: word == "offline")
    last = listener.of("digits/metrics")[-1]
    assert last["frames_total"] == 0
    assert last["dropped_total"]["deadline"] == last["deadline_misses_total"] > 20
    missed = listener.wait_for_event("deadline_missed")
    assert "dropped unrun" in missed["message"]
    assert missed["details"]["blame"] in ("capture", "wait", "preprocess")


def test_it_runs_without_a_configured_broker_on_the_embedded_one(
    start: Start, digits_30fps: str
) -> None:
    port = free_port()
    daemon = start(
        f"device: dev\nmqtt: {{broker: 'embedded:{port}'}}\npipelines:\n  digits: {digits_30fps}"
    )
    wait_for_port(port)
    with Listener(port) as listener:
        listener.wait_for_many("digits/predictions", 5)
        daemon.send(signal.SIGTERM)
        listener.wait_for("dev/status", lambda word: word == "offline")
    assert daemon.wait() == 0, daemon.log


def test_the_supervisor_holds_no_numpy_no_opencv_and_no_engine(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  digits: {digits_30fps}"))
    listener.wait_for("digits/predictions")
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    for library in ("numpy", "cv2", "litert", "tflite"):
        assert library not in maps


def test_the_stdout_sink_prints_what_is_published(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    text = f"sinks: [{{type: stdout}}]\n{device(broker, f'  digits: {digits_30fps}')}"
    daemon = start(text, "--max-frames", "10")
    assert daemon.wait() == 0, daemon.log
    printed = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
    assert printed == listener.wait_for_many("digits/predictions", 10)
