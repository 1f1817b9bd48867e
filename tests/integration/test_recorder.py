"""The flight recorder in a running daemon: misses, deaths, requests, and disks that are full."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import edge
from parties import Daemon, Listener, Mosquitto, device
from trace_format import check_trace

from edge.config.pipeline import Pipeline
from edge.supervisor.trace_folder import read_story
from edge.worker.prepare import prepare

Start = Callable[..., Daemon]
BUSY = "while True: sum(range(10_000))"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory for each test: what is in it is counted."""
    folder = tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", str(folder))
    return folder


@contextmanager
def every_core_busy() -> Iterator[None]:
    """Two processes a core that want it all the time."""
    count = 2 * (os.cpu_count() or 1)
    burners = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def recording(broker: Mosquitto, pipeline: str, **bounds: Any) -> str:
    return device(broker, f"  cam: {pipeline}") + f"\nrecorder: {json.dumps(bounds)}\n"


def model_of_some_milliseconds(testdata: Path, *, deadline_ms: float) -> str:
    path = testdata / "models/mobilenet_v2_1.0_224_quant.tflite"
    return (
        "{source: {type: synthetic, width: 320, height: 240, fps: 30}, on_late: run, "
        f"model: {{path: '{path}', threads: 1}}, deadline_ms: {deadline_ms}}}"
    )


def test_a_deadline_missed_under_load_is_told_by_a_trace_that_explains_it(
    testdata: Path, broker: Mosquitto, listener: Listener, start: Start
) -> None:
    options = model_of_some_milliseconds(testdata, deadline_ms=1)
    # A deadline with some room on whatever machine this is, but not for the load to come; the
    # quickest of some passes is one that other tests did not hold up.
    pipeline = Pipeline.model_validate(yaml.safe_load(options))
    warm_ms = min(prepare(pipeline).warm_ns for _ in range(5)) / 1e6
    options = model_of_some_milliseconds(testdata, deadline_ms=2 * warm_ms + 2)
    start(recording(broker, options, min_interval_s=1))
    listener.wait_for_many("cam/predictions", 40)
    with every_core_busy():
        told = listener.wait_for_event(
            "trace_written", lambda e: "other_processes" in e["details"]["causes"]
        )
    assert told["pipeline"] == "cam"
    assert "waited" in told["message"]
    file = told["details"]["file"]
    printed = edge("trace", file)
    assert printed.returncode == 0
    assert printed.stdout.startswith(told["message"])
    assert f"frame {told['details']['frame']} missed by " in printed.stdout
    story = read_story(Path(file))
    assert story.offending is not None
    row = story.frames[story.offending]
    assert (row.frame, row.missed) == (told["details"]["frame"], True)
    assert row.total_ms > story.deadline_ms
    assert story.frames[-1].frame > row.frame, "what follows is seen, too"
    check_trace(_document(Path(file)))
    listed = edge("trace")
    assert listed.returncode == 0
    assert told["message"] in listed.stdout


def _document(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


def test_a_worker_killed_in_its_forward_pass_leaves_a_trace_that_ends_there(
    testdata: Path, broker: Mosquitto, listener: Listener, start: Start
) -> None:
    model = testdata / "models/mobilenet_v2_1.0_224_quant.tflite"
    # As fast as it goes: most of the time it is in a forward pass.
    source = "{type: synthetic, width: 320, height: 240, fps: null}"
    options = f"{{source: {source}, model: {{path: '{model}'}}, deadline_ms: 10000}}"
    daemon = start(recording(broker, options, min_interval_s=1))
    for deaths in range(1, 6):
        listener.wait_for_many("cam/predictions", 200 * deaths)
        if any("inference stage" in each["message"] for each in listener.of("/events")):
            break
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGKILL)
        listener.wait_for_many("/events", deaths, lambda e: e["event"] == "worker_died")
    told = listener.wait_for_event("trace_written", lambda e: "inference stage" in e["message"])
    assert told["details"]["why"] == "worker_died"
    assert told["message"].startswith("the worker ended (killed by SIGKILL) with frame ")
    story = read_story(Path(told["details"]["file"]))
    assert story.offending is not None
    row = story.frames[story.offending]
    assert row.what == "in hand"
    assert "inference" in row.stages_ms
    assert row.frame > story.frames[0].frame
    check_trace(_document(Path(told["details"]["file"])))


def test_a_signal_asks_for_a_trace_of_every_pipeline(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}  two: {digits_30fps}"))
    listener.wait_for_many("one/predictions", 20)
    listener.wait_for_many("two/predictions", 20)
    daemon.send(signal.SIGUSR1)
    for pipeline in ("one", "two"):
        told = listener.wait_for(f"{pipeline}/events", lambda e: e["event"] == "trace_written")
        assert told["details"]["why"] == "asked_for"
        printed = edge("trace", told["details"]["file"])
        assert printed.returncode == 0
        assert f"pipeline {pipeline}" in printed.stdout
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


def test_where_nothing_can_be_written_it_is_told_once_and_all_goes_on(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, state: Path
) -> None:
    state.write_text("a file where the folder should be", encoding="utf-8")
    daemon = start(device(broker, f"  one: {digits_30fps}"))
    listener.wait_for_many("one/predictions", 20)
    for more in (40, 60):
        daemon.send(signal.SIGUSR1)
        listener.wait_for_many("one/predictions", more)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.log.count("trace_failed") == 1
    assert "Traceback" not in daemon.log


def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, state: Path
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}"))
    listener.wait_for_many("one/predictions", 100)
    # The kernel refuses what is written past a limit as it refuses a full disk.
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (6000, 6000))
    daemon.send(signal.SIGUSR1)
    listener.wait_for_many("one/predictions", 130)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert list((state / "traces").iterdir()) == []
    assert daemon.log.count("no trace can be written") == 1


def test_no_trace_is_written_where_none_is_wanted(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, state: Path
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}") + "\nrecorder: {keep: 0}\n")
    listener.wait_for_many("one/predictions", 20)
    daemon.send(signal.SIGUSR1)
    listener.wait_for_many("one/predictions", 40)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert not (state / "traces").exists()


def test_without_traces_the_list_says_where_it_looked(state: Path) -> None:
    printed = edge("trace")
    assert printed.returncode == 0
    assert printed.stdout == f"no traces in {state / 'traces'}\n"


def test_a_file_that_is_no_trace_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8\xff\xe0 a photo")
    for path, why in ((file, "it holds no JSON"), (tmp_path / "gone", "No such file")):
        printed = edge("trace", path)
        assert printed.returncode == 2
        assert printed.stderr.count("\n") == 1
        assert why in printed.stderr
