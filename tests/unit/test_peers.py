"""What the side-by-side benchmark concludes from turns: the null rule, ratios, verdicts, tables."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from peers.aims import Aim, aims
from peers.feeds import PICTURES, Feed
from peers.frames import FEEDS, HEIGHT, WIDTH, make_frames
from peers.plan import Setting
from peers.tables import table
from peers.turn import Ratio, Turn, ratio

from edge.latency.histogram import Histogram

HELD_OUT = Path(__file__).parents[2] / "models" / "digits"


def turn(latency_us: int, *, frames: int = 100, cpu_ns: int | None = None) -> Turn:
    latency = Histogram()
    latency.record(latency_us, frames)
    return Turn(latency, seconds=2.0, cpu_ns=cpu_ns)


def p50(a_turn: Turn) -> float | None:
    return a_turn.p50_us


def test_a_turn_too_short_for_a_percentile_has_none() -> None:
    assert turn(500, frames=100).p99_us == 500
    assert turn(500, frames=99).p99_us is None
    assert turn(500, frames=99).tail is None


def test_throughput_and_cpu_time_are_by_frame() -> None:
    one = turn(500, frames=100, cpu_ns=50_000_000)
    assert one.throughput == pytest.approx(50)
    assert one.cpu_us == pytest.approx(500)
    assert turn(500).cpu_us is None


def test_each_turn_is_compared_with_its_neighbour() -> None:
    found = ratio([turn(200), turn(900), turn(300)], [turn(100), turn(300), turn(300)], p50)
    assert found == Ratio(2.0, 1.0, 3.0)
    assert str(found) == "2.00 (1.00 to 3.00)"


def test_a_peer_that_was_left_out_is_compared_with_nobody() -> None:
    assert ratio([turn(200)], [], p50) is None
    assert ratio([turn(200)], [turn(100, frames=1)], lambda each: each.tail) is None


@pytest.mark.parametrize(
    ("at_least", "value", "said"),
    [
        (False, Ratio(1.2, 1.1, 1.3), "met"),
        (False, Ratio(1.2, 1.1, 1.4), "met, not in every turn"),
        (False, Ratio(1.4, 1.2, 1.5), "missed, not in every turn"),
        (False, Ratio(1.5, 1.4, 1.6), "missed"),
        (True, Ratio(1.5, 1.4, 1.6), "met"),
        (True, Ratio(1.2, 1.1, 1.25), "missed"),
    ],
)
def test_a_verdict_tells_when_a_turn_disagrees(at_least: bool, value: Ratio, said: str) -> None:
    assert Aim("P50", "bare", p50, 1.3, at_least=at_least).verdict(value) == said


def test_aims_against_the_bare_loop_are_for_its_models_and_frames_in_memory() -> None:
    def against_bare(model: str, feed: str) -> list[float | None]:
        return [aim.limit for aim in aims(model, feed, paced=True) if aim.peer == "bare"]

    assert against_bare("mobilenet_v1_0.25_128_quant", "memory") == [1.30, 1.15]
    assert against_bare("mobilenet_v2_1.0_224_quant", "memory") == [1.05, 1.15]
    assert against_bare("mobilenet_v1_0.25_128_quant", "mjpeg") == [None, None]
    assert against_bare("digits", "memory") == [None, 1.15]


def test_a_table_says_who_was_left_out_and_where_answers_differ(tmp_path: Path) -> None:
    naive, ours = turn(400), turn(300)
    naive.answers, ours.answers = {0: 7, 1: 8, 2: 9}, {0: 7, 1: 5}
    setting = Setting(Path("a.tflite"), "memory", tmp_path, None, 2.0, 1883)
    said = table(setting, {"naive": [naive], "ours": [ours]}, {"mediapipe": "it is not here"})
    assert "#### a, memory, as fast as possible" in said
    assert "- left out: MediaPipe ImageClassifier: it is not here" in said
    assert "answers as the naive script: 1 of 2 pictures" in said
    assert "| naive script | P50 | <= 1 | 0.75 (0.75 to 0.75), met |" in said


def test_every_feed_gives_the_same_pictures_in_the_same_order(tmp_path: Path) -> None:
    make_frames(HELD_OUT, tmp_path, list(FEEDS), most=PICTURES + 3, rounds=1)
    feeds = [Feed(kind, tmp_path, None) for kind in FEEDS]
    for number in range(PICTURES + 2):
        read = [feed.read() for feed in feeds]
        assert all(ok for ok, _ in read)
        assert {feed.picture for feed in feeds} == {number % PICTURES}
        (_, exact), *others = read
        assert exact.shape == (HEIGHT, WIDTH, 3)
        for _, compressed in others:
            assert cv2.absdiff(exact, compressed).mean() < 8


def test_a_video_begins_again_after_its_last_frame(tmp_path: Path) -> None:
    (tmp_path / "mjpeg").mkdir()
    writer = cv2.VideoWriter(
        str(tmp_path / "mjpeg" / "video.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 32)
    )
    for grey in (0, 120, 240):
        writer.write(np.full((32, 64, 3), grey, np.uint8))
    writer.release()
    feed = Feed("mjpeg", tmp_path, None)
    assert [round(feed.read()[1].mean() / 120) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
