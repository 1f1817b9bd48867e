"""`edge run` with an accelerator that comes, goes, hangs and crashes, over a real broker."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import publish
from parties import Daemon, Listener, Mosquitto, device

if TYPE_CHECKING:
    from trial_delegate import TrialDelegate

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
CPU_BUILD = "digits_cpu.tflite"
Start = Callable[..., Daemon]


@pytest.fixture
def cpu_build(tmp_path: Path) -> Path:
    """The same model under another name: results tell which of the two was run."""
    return Path(shutil.copy(DIGITS, tmp_path / CPU_BUILD))


def pipeline(accelerator: str, cpu_build: Path, *, fps: int | None = 30, more: str = "") -> str:
    pace = f", fps: {fps}, loop: true" if fps else ""
    return f"""  door:
    source: {{type: images, path: {ROOT}/models/digits/held-out.png, tile: 8, truth: list{pace}}}
    deadline_ms: 1000
    model:
      path: {DIGITS}
      cpu_path: {cpu_build}
      labels: {ROOT}/models/digits/labels.txt
      accelerator: {accelerator}
{more}"""


def results(listener: Listener, count: int, model: str) -> list[Any]:
    """Return so many further results of a build of the model."""
    before = sum(each["model"] == model for each in listener.of("door/predictions"))
    return listener.wait_for_many(
        "door/predictions", before + count, lambda each: each["model"] == model
    )[before:]


def command(broker: Mosquitto, name: str) -> None:
    publish.single(f"edge/dev/command/{name}", '{"pipeline": "door"}', qos=1, port=broker.port)


def right(answers: list[Any]) -> float:
    """Return the share of right answers."""
    hits: list[bool] = [each["predictions"][0]["label"] == each["truth"] for each in answers]
    return sum(hits) / len(hits)


def test_what_the_accelerator_says_is_published_and_told(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate, cpu_build: Path
) -> None:
    daemon = start(device(broker, pipeline(delegate.yaml(), cpu_build)))
    assert right(results(listener, 60, DIGITS.name)) > 0.9
    info = listener.wait_for("dev/info", lambda said: said["pipelines"]["door"]["engine"])
    told = info["pipelines"]["door"]
    assert told["accelerator"] == {
        "name": "libtrial.so",
        "in_use": True,
        "fallback": "cpu",
        "cause": None,
        "trouble": None,
    }
    assert told["engine"]["reason"] == "it drives the libtrial.so"
    figures = listener.wait_for("door/metrics", lambda said: said["frames_total"])["accelerator"]
    assert figures == {"in_use": True, "losses_total": 0, "cpu_seconds_total": 0.0}
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


def test_one_that_is_not_there_is_done_without_until_it_is_and_no_frame_is_lost_then(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate, cpu_build: Path
) -> None:
    delegate.be("error")
    accelerator = delegate.yaml(in_="create", says="there is no such chip")
    # Slow enough that other tests beside us hold no frame up until the next comes.
    start(device(broker, pipeline(accelerator, cpu_build, fps=5)))
    assert right(results(listener, 20, CPU_BUILD)) > 0.9
    lost = listener.wait_for_event("accelerator_lost")
    assert "there is no such chip" in lost["message"]
    assert "runs on the CPU until it can be used" in lost["message"]
    told = listener.wait_for("dev/info", lambda said: said["pipelines"]["door"]["model"])
    assert told["pipelines"]["door"]["accelerator"]["in_use"] is False
    delegate.be("ok")
    results(listener, 10, DIGITS.name)
    back = listener.wait_for_event("accelerator_back")
    assert back["details"]["away_s"] > 0
    frames = [each["frame"] for each in listener.of("door/predictions")]
    at = next(n for n, r in enumerate(listener.of("door/predictions")) if r["model"] != CPU_BUILD)
    around = frames[at - 10 : at + 10]
    assert all(later - earlier == 1 for earlier, later in pairwise(around))
    figures = listener.wait_for("door/metrics", lambda said: said["accelerator"]["in_use"])
    assert figures["accelerator"]["losses_total"] == 1
    assert figures["accelerator"]["cpu_seconds_total"] > 0


@pytest.mark.parametrize(
    ("trouble", "cause", "words"),
    [
        ("error", "failed", "in a forward pass"),
        ("hang", "hung", "one forward pass took over"),
        ("crash", "crashed", "killed by SIG"),
    ],
)
def test_one_that_gives_up_is_done_without_and_taken_back(
    broker: Mosquitto,
    listener: Listener,
    start: Start,
    delegate: TrialDelegate,
    cpu_build: Path,
    trouble: str,
    cause: str,
    words: str,
) -> None:
    daemon = start(device(broker, pipeline(delegate.yaml(), cpu_build)))
    results(listener, 30, DIGITS.name)
    delegate.be(trouble)
    assert right(results(listener, 60, CPU_BUILD)) > 0.9
    lost = listener.wait_for_event("accelerator_lost")
    assert lost["details"]["cause"] == cause
    assert words in lost["message"]
    delegate.be("ok")
    results(listener, 30, DIGITS.name)
    listener.wait_for_event("accelerator_back")
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    sequences = [each["sequence"] for each in listener.of("door/predictions")]
    assert sequences == list(range(len(sequences)))


def test_no_frame_of_a_pulled_source_is_lost_with_the_accelerator(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate, cpu_build: Path
) -> None:
    delegate.be("crash")
    accelerator = delegate.yaml(in_="invoke", after="40")
    daemon = start(device(broker, pipeline(accelerator, cpu_build, fps=None)))
    assert daemon.wait() == 0
    listener.catch_up()
    answers = listener.of("door/predictions")
    assert [each["frame"] for each in answers] == list(range(540))
    assert {each["model"] for each in answers} == {DIGITS.name, CPU_BUILD}
    assert listener.of("door/metrics")[-1]["failed_total"] == 0


def test_without_a_fallback_it_does_not_run_and_says_why(
    broker: Mosquitto, start: Start, delegate: TrialDelegate, cpu_build: Path
) -> None:
    delegate.be("error")
    accelerator = delegate.yaml(in_="create", says="there is no such chip")
    written = pipeline(accelerator, cpu_build, more="      fallback: none\n")
    daemon = start(device(broker, written))
    assert daemon.wait() == 1
    assert "pipeline_failed" in daemon.log
    assert "there is no such chip" in daemon.log
    assert "Traceback" not in daemon.log


def test_one_that_comes_back_while_the_pipeline_is_paused_is_used_when_it_goes_on(
    broker: Mosquitto, listener: Listener, start: Start, delegate: TrialDelegate, cpu_build: Path
) -> None:
    steered = "commands: {allow: [pause, resume]}\n"
    daemon = start(steered + device(broker, pipeline(delegate.yaml(), cpu_build)))
    results(listener, 30, DIGITS.name)
    delegate.be("error")
    results(listener, 10, CPU_BUILD)
    command(broker, "pause")
    listener.wait_for("dev/info", lambda said: said["pipelines"]["door"]["state"] == "paused")
    delegate.be("ok")
    listener.wait_for_event("accelerator_back")
    command(broker, "resume")
    results(listener, 30, DIGITS.name)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
