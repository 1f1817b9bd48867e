"""`edge run` with a cache, over a real broker: hits are marked, counted, and timed apart."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import edge
from parties import Daemon, Listener, Mosquitto, device

from edge.latency.hdr_codec import decode
from edge.latency.histogram import Histogram

ROOT = Path(__file__).parents[2]
Start = Callable[..., Daemon]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two digits of the sheet, a file each."""
    sheet = cv2.imread(str(ROOT / "models/digits/held-out.png"))
    assert sheet is not None
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        tile = np.ascontiguousarray(sheet[:8, number * 8 : number * 8 + 8])
        cv2.imwrite(str(folder / f"{number}.png"), tile)
    return folder


def pipeline(pictures: Path, cache: str, *, deadline_ms: float = 1000) -> str:
    return f"""  digits:
    source: {{type: images, path: {pictures}, fps: 50, loop: true}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
    deadline_ms: {deadline_ms}
    on_late: run
    cache: {cache}
"""


def everything(listener: Listener) -> tuple[list[Any], list[Any]]:
    """Wait for the end; return the results and the reports."""
    listener.wait_for("dev/status", lambda word: word == "offline")
    return listener.of("digits/predictions"), listener.of("digits/metrics")


@pytest.mark.parametrize("mode", ["exact", "similar"])
def test_hits_are_marked_and_counted_and_timed_apart(
    broker: Mosquitto, listener: Listener, start: Start, pictures: Path, mode: str
) -> None:
    cache = f"{{mode: {mode}, max_age_ms: 500}}"
    text = device(broker, pipeline(pictures, cache), interval_s=0.5)
    daemon = start(text, "--max-frames", "100")
    assert daemon.wait() == 0, daemon.log
    results, reports = everything(listener)
    assert len(results) == 100

    ran = {result["frame"]: result for result in results if result["cached"] is None}
    hits = [result for result in results if result["cached"]]
    assert hits  # on a quiet machine 90 or so
    for hit in hits:
        made_for = ran[hit["cached"]["frame"]]  # itself never a hit
        assert hit["predictions"] == made_for["predictions"]
        assert hit["file"] == made_for["file"]
        assert 0 < hit["cached"]["age_ms"] <= 500
        assert hit["cached"]["similarity"] == 1
        latency = dict(hit["latency_ms"])
        assert latency["inference"] == latency["decode"] == 0
        assert latency.pop("total") == pytest.approx(sum(latency.values()), abs=0.01)
    assert all(result["latency_ms"]["inference"] > 0 for result in ran.values())

    last = reports[-1]
    assert (last["frames_total"], last["cache"]["hits_total"]) == (100, len(hits))
    assert last["cache"]["misses_total"] == last["latency_total_ms"]["count"] == len(ran)
    assert last["cache"]["latency_total_ms"]["count"] == len(hits)
    assert last["latency_total_ms"]["p99"] is None  # too few forward passes to say
    for report in reports:
        assert report["cache"]["hits"] + report["cache"]["misses"] == report["frames"]
        assert report["stages_ms"]["capture"]["count"] == report["cache"]["misses"]
    merged = Histogram.merged(decode(each["cache"]["latency_ms"]["hdr"]) for each in reports)
    assert merged == decode(last["cache"]["latency_total_ms"]["hdr"])
    acknowledged = sum(each["cache"]["acknowledged_ms"]["count"] for each in reports)
    assert 0 < acknowledged <= len(hits)
    assert re.search(rf"summary .*frames=100 .*cache_hits={len(hits)}\b", daemon.log)


def test_hits_that_come_too_late_miss_the_deadline_too(
    broker: Mosquitto, listener: Listener, start: Start, pictures: Path
) -> None:
    text = device(broker, pipeline(pictures, "{mode: exact}", deadline_ms=0.001))
    assert start(text, "--max-frames", "40").wait() == 0
    results, reports = everything(listener)
    assert any(result["cached"] for result in results)
    assert not any(result["deadline_met"] for result in results)
    assert reports[-1]["deadline_misses_total"] == 40


def test_without_a_cache_nothing_is_said_of_one(
    broker: Mosquitto, listener: Listener, start: Start, pictures: Path
) -> None:
    daemon = start(device(broker, pipeline(pictures, "{mode: off}")), "--max-frames", "20")
    assert daemon.wait() == 0, daemon.log
    results, reports = everything(listener)
    assert {result["cached"] for result in results} == {None}
    assert {report["cache"] for report in reports} == {None}
    assert reports[-1]["latency_total_ms"]["count"] == 20
    assert "cache_hits" not in daemon.log


def test_a_model_that_keeps_state_is_refused_with_a_cache(
    broker: Mosquitto, start: Start, testdata: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "sound.npy", np.zeros((1, 3, 40), np.int8))
    text = device(
        broker,
        f"""  wake:
    source: {{type: images, path: {tmp_path}/sound.npy, fps: 10, loop: true}}
    model: {{path: {testdata}/models/okay_nabu.tflite}}
    decode: {{type: raw}}
    cache: {{mode: exact}}
""",
    )
    config = tmp_path / "wake.yaml"
    config.write_text(text, encoding="utf-8")
    check = edge("check", config)
    assert check.returncode == 2
    assert check.stderr.startswith(f"edge check: {config}:9: pipelines.wake.cache.mode: ")
    assert "okay_nabu.tflite: the model keeps state" in check.stderr
    assert check.stderr.count("\n") == 1

    daemon = start(text)
    assert daemon.wait() == 1
    assert "pipeline_failed pipeline=wake error=CacheError" in daemon.log

    config.write_text(text.replace("mode: exact", "mode: off"), encoding="utf-8")
    assert edge("check", config).returncode == 0


def test_check_names_the_cache_of_a_pipeline(pictures: Path, tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    for mode, ending in (("off", "deadline 1000 ms"), ("similar", "1000 ms, cache similar")):
        text = f"pipelines:\n{pipeline(pictures, f'{{mode: {mode}}}')}"
        config.write_text(text, encoding="utf-8")
        done = edge("check", config)
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip().endswith(ending)
