"""Golden answers as their user meets them: `edge golden`, `edge check`, and a running daemon."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from commands import edge
from parties import Daemon, Listener, Mosquitto, device

if TYPE_CHECKING:
    from trial_delegate import TrialDelegate

FOLDER = Path(__file__).parents[2] / "models/digits"
DIGITS, GOLDEN = FOLDER / "digits.tflite", FOLDER / "digits.golden.npz"
TWO_ENGINES = sys.version_info < (3, 12)
Start = Callable[..., Daemon]


def pipeline(model: Path, golden: Path = GOLDEN, *, more: str = "", ladder: str = "") -> str:
    return f"""  digits:
    source: {{type: images, path: {FOLDER}/held-out.png, tile: 8, truth: list, fps: 30, loop: true}}
    model:
      path: {model}
      labels: {FOLDER}/labels.txt
      golden: {golden}
{more}
    deadline_ms: 1000
{ladder}"""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The digits with one bit of one weight turned over."""
    data = bytearray(DIGITS.read_bytes())
    data[5547] ^= 0x80
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    return path


def test_the_digits_that_are_shipped_are_what_the_command_makes(tmp_path: Path) -> None:
    out = tmp_path / "made.npz"
    done = edge("golden", DIGITS, FOLDER / "held-out.png", "--tile", "8", "--out", out)
    assert done.returncode == 0, done.stderr
    made, *_, in_the_yaml = done.stdout.splitlines()
    assert made.startswith(f"{out}: 16 of 540 inputs and the answers of litert ")
    assert in_the_yaml == f"in the YAML, beside the model's path: golden: {out}"
    with np.load(out) as found, np.load(GOLDEN) as shipped:
        assert np.array_equal(found["input"], shipped["input"])
        engines = 2 if TWO_ENGINES else 1
        assert np.array_equal(found["output_0"], shipped["output_0"][:engines])


def test_a_few_pictures_are_all_kept_in_their_order(tmp_path: Path) -> None:
    sheet = cv2.imread(str(FOLDER / "held-out.png"))
    assert sheet is not None
    tiles = [sheet[:8, 8 * at :][:, :8] for at in range(3)]
    files = [tmp_path / f"{name}.png" for name in "cab"]
    for file, tile in zip(files, tiles, strict=True):
        cv2.imwrite(str(file), tile)
    model = tmp_path / "mine.tflite"
    model.write_bytes(DIGITS.read_bytes())
    done = edge("golden", model, *files, "--engine", "litert")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "mine.golden.npz"
    assert done.stdout.startswith(f"{out}: 3 inputs and the answers of litert ")
    with np.load(out) as found:
        assert found["output_0"].shape == (1, 3, 1, 10)
        expected = [cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY).astype(np.int16) - 128 for tile in tiles]
        assert np.array_equal(found["input"][:, 0, :, :, 0], np.stack(expected))


def test_the_answers_of_another_engine_are_added(tmp_path: Path, testdata: Path) -> None:
    model, out = testdata / "models/vww_96_int8.tflite", tmp_path / "vww.npz"
    first = edge("golden", model, testdata / "images", "--engine", "litert", "--out", out)
    assert first.returncode == 0, first.stderr
    again = edge("golden", model, "--add", "--engine", "litert", "--out", out)
    assert again.stdout == first.stdout, "the same answers are not added twice"
    if not TWO_ENGINES:
        return
    both = edge("golden", model, "--add", "--out", out)
    assert both.returncode == 0, both.stderr
    assert "10 inputs and the answers of litert " in both.stdout
    assert ", tflite-runtime " in both.stdout
    assert "\nthey are at most 4 steps apart\n" in both.stdout
    with np.load(out) as found:
        assert found["output_0"].shape == (2, 10, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["gone.tflite", FOLDER / "held-out.png"], 2, "gone.tflite: there is no such model file"),
        ([DIGITS, "gone.png"], 2, "gone.png: no such file or folder"),
        ([DIGITS, FOLDER / "labels.txt"], 1, "labels.txt: is no image that OpenCV can read"),
        ([FOLDER / "labels.txt", FOLDER / "held-out.png"], 1, "labels.txt: "),
        ([DIGITS, FOLDER / "held-out.png", "--keep", "65"], 2, "--keep must be from 1 to 64"),
        ([DIGITS, FOLDER / "held-out.png", "--tile", "0"], 2, "--tile: "),
        ([DIGITS], 2, "name inputs to make a golden file, or --add answers to one"),
        ([DIGITS, FOLDER, "--add"], 2, "name inputs to make a golden file, or --add answers"),
        ([DIGITS, "--add", "--out", "no.npz"], 2, "no.npz: the golden file cannot be read: "),
        ([DIGITS, FOLDER / "held-out.png", "--out", "no/x.npz"], 2, "no/x.npz: the golden file"),
    ],
)
def test_what_cannot_be_made_is_told(
    arguments: list[str | Path], status: int, reason: str, tmp_path: Path
) -> None:
    done = edge("golden", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr.startswith("edge golden: ")
    assert reason in done.stderr
    assert not list(tmp_path.glob("*.npz"))


def test_check_says_how_it_did_or_whose_fault_it_is(tmp_path: Path, damaged: Path) -> None:
    config = tmp_path / "pi.yaml"
    config.write_text(f"pipelines:\n{pipeline(DIGITS)}", encoding="utf-8")
    done = edge("check", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(", deadline 1000 ms, 16 golden inputs within 0 steps\n")
    for model, golden, status, reason in (
        (damaged, GOLDEN, 2, f"{damaged}: on litert "),
        (DIGITS, tmp_path / "gone.npz", 2, "gone.npz: there is no such file"),
        (DIGITS, damaged, 2, f"{damaged}: the golden file is no .npz file, or is cut off"),
    ):
        config.write_text(f"pipelines:\n{pipeline(model, golden)}", encoding="utf-8")
        done = edge("check", config)
        assert done.returncode == status
        assert f"{config}:7: pipelines.digits.model.golden: " in done.stderr
        assert reason in done.stderr


def test_a_daemon_tells_of_the_test_and_refuses_a_wrong_model(
    broker: Mosquitto, listener: Listener, start: Start, damaged: Path
) -> None:
    more = pipeline(damaged).replace("digits:", "wrong:")
    daemon = start(device(broker, pipeline(DIGITS) + more))
    told = listener.wait_for_event("model_loaded")["details"]["golden"]
    assert told == {"vectors": 16, "worst_steps": 0, "ms": told["ms"]}
    failed = listener.wait_for("wrong/events", lambda e: e["event"] == "pipeline_failed")
    assert failed["details"]["error"] == "GoldenError"
    assert "answers otherwise than its golden file" in failed["message"]
    assert "29 steps apart (1 allowed)" in failed["message"]
    running = listener.wait_for("dev/info", lambda info: info["pipelines"]["digits"]["engine"])
    assert running["pipelines"]["digits"]["engine"]["golden"] == told
    listener.wait_for("digits/predictions")
    assert not listener.of("wrong/predictions")
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.mark.parametrize("right", [True, False])
def test_a_rung_of_the_ladder_proves_itself_too(
    right: bool, broker: Mosquitto, listener: Listener, start: Start, damaged: Path, tmp_path: Path
) -> None:
    model = tmp_path / "second.tflite" if right else damaged
    model.write_bytes((DIGITS if right else damaged).read_bytes())
    ladder = f"""    ladder:
      window_s: 1
      rungs:
        - {{name: other, model: {{path: {model}, golden: {GOLDEN}, engine: litert}}}}
"""
    text = pipeline(DIGITS, ladder=ladder).replace("deadline_ms: 1000", "deadline_ms: 0.001")
    daemon = start(device(broker, text.replace("deadline_ms", "on_late: run\n    deadline_ms")))
    if right:
        listener.wait_for_event("rung_changed")
        info = listener.wait_for("dev/info", lambda info: info["pipelines"]["digits"]["rung"] == 1)
        assert info["pipelines"]["digits"]["engine"]["golden"]["vectors"] == 16
    else:
        refused = listener.wait_for_event("rung_refused")
        assert refused["details"]["rung_name"] == "other"
        assert f"{damaged}: on litert " in refused["message"]
        assert {result["rung"] for result in listener.of("digits/predictions")} == {0}
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


def accelerated(delegate: TrialDelegate, fallback: str) -> str:
    """An accelerator that is fast, for it computes nothing."""
    accelerator = delegate.yaml(computes="nothing")
    return f"      accelerator: {accelerator}\n      fallback: {fallback}\n"


def test_an_accelerator_that_answers_wrongly_makes_way_for_the_cpu(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate
) -> None:
    daemon = start(device(broker, pipeline(DIGITS, more=accelerated(delegate, "cpu"))))
    lost = listener.wait_for_event("accelerator_lost")
    assert "it answers otherwise than its golden file" in lost["message"]
    results = listener.wait_for_many("digits/predictions", 30)
    right = [result["predictions"][0]["label"] == result["truth"] for result in results]
    assert sum(right) >= 28, "those of the CPU"
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


def test_without_a_fallback_it_fails(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate
) -> None:
    start(device(broker, pipeline(DIGITS, more=accelerated(delegate, "none"))))
    failed = listener.wait_for_event("pipeline_failed")
    assert "it answers otherwise than its golden file" in failed["message"]
    assert not listener.of("digits/predictions")
