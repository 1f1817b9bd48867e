"""What breaks, and what the others notice of it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from parties import Daemon, Listener, Mosquitto, device, free_port

from edge.supervisor.broker import EmbeddedBroker

ROOT = Path(__file__).parents[2]
Start = Callable[..., Daemon]


def two_pipelines(digits_30fps: str) -> str:
    """Return two pipelines that do the same."""
    return f"  one: {digits_30fps}  two: {digits_30fps}"


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_worker_that_dies_or_stalls_is_replaced_and_the_other_does_not_notice(
    fault: signal.Signals,
    broker: Mosquitto,
    listener: Listener,
    start: Start,
    digits_30fps: str,
) -> None:
    daemon = start(device(broker, two_pipelines(digits_30fps)))
    listener.wait_for_many("one/predictions", 5)
    listener.wait_for_many("two/predictions", 5)
    victim = next(pid for pid in daemon.workers() if _pipeline_of(pid, daemon) == "one")
    os.kill(victim, fault)
    died = listener.wait_for_event("worker_died")
    assert died["pipeline"] == "one"
    if fault == signal.SIGSTOP:
        assert "stopped answering" in died["details"]["how"]
    else:
        assert died["details"]["how"] == f"killed by {fault.name}"
    if fault == signal.SIGSEGV:  # its last words are Python's own report of the crash
        assert any("Segmentation fault" in line for line in died["details"]["last_words"])
    back = listener.wait_for_event("worker_restarted")
    assert back["pipeline"] == "one"
    before = len(listener.of("one/predictions"))
    listener.wait_for_many("one/predictions", before + 5)
    results = listener.of("one/predictions")
    assert [result["sequence"] for result in results] == list(range(len(results)))
    frames = [result["frame"] for result in results]
    assert frames == sorted(set(frames)), "frame numbers never go back"
    assert not [e for e in listener.of("two/events") if e["event"] == "worker_died"]
    two = [result["frame"] for result in listener.of("two/predictions")]
    assert len(two) > 5


def _pipeline_of(pid: int, daemon: Daemon) -> str:
    """Workers are started in the order of the YAML."""
    return ("one", "two")[daemon.workers().index(pid)]


def test_a_worker_that_is_stopped_while_it_starts_is_replaced(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}"))
    while not (workers := daemon.workers()):
        assert daemon.process.poll() is None
    os.kill(workers[0], signal.SIGSTOP)
    died = listener.wait_for_event("worker_died")
    assert "stopped answering" in died["details"]["how"]
    listener.wait_for("one/predictions")


def test_a_worker_that_segfaults_costs_only_its_own_pipeline(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  evil: {digits_30fps}  good: {digits_30fps}"))
    for restarts in range(2):
        listener.wait_for_many("evil/events", 1 + 2 * restarts)  # loaded, died, loaded again
        listener.wait_for("good/predictions")
        # Workers are started in the order of the YAML; one that was replaced is the youngest.
        evil = daemon.workers()[-1 if restarts else 0]
        os.kill(evil, signal.SIGSEGV)
        died = listener.wait_for_many("/events", 1 + restarts, _is_death)[-1]
        assert died["pipeline"] == "evil"
        assert died["details"]["how"] == "killed by SIGSEGV"
        assert "Segmentation fault" in died["details"]["last_words"][0]
        listener.wait_for_many("/events", 1 + restarts, _is_return)
    before = len(listener.of("good/predictions"))
    listener.wait_for_many("good/predictions", before + 10)
    assert len([event for event in listener.of("/events") if _is_death(event)]) == 2


def _is_death(event: Any) -> bool:
    return bool(event["event"] == "worker_died")


def _is_return(event: Any) -> bool:
    return bool(event["event"] == "worker_restarted")


def test_a_pulled_folder_is_answered_once_each_though_its_worker_is_killed(
    broker: Mosquitto, listener: Listener, start: Start, testdata: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(120):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((64, 64, 3), number, np.uint8))
    daemon = start(
        device(
            broker,
            f"""  all:
    source: {{type: images, path: {folder}}}
    model: {{path: {testdata}/models/mobilenet_v2_1.0_224_quant.tflite}}
    deadline_ms: 5000
""",
        )
    )
    listener.wait_for_many("all/predictions", 20)
    os.kill(daemon.workers()[0], signal.SIGKILL)
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    listener.wait_for_event("worker_restarted")
    files = [Path(result["file"]).stem for result in listener.of("all/predictions")]
    assert files == [f"{number:03}" for number in range(120)]


def test_a_sequence_goes_on_though_its_pipeline_is_configured_anew(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    text = device(broker, f"  one: {digits_30fps}")
    daemon = start(text)
    listener.wait_for_many("one/predictions", 10)
    daemon.config.write_text(text.replace("fps: 30", "fps: 60"), encoding="utf-8")
    daemon.send(signal.SIGHUP)
    listener.wait_for_event("reloaded")
    before = len(listener.of("one/predictions"))
    results = listener.wait_for_many("one/predictions", before + 30)
    assert [result["sequence"] for result in results] == list(range(before + 30))


def test_a_reload_to_another_broker_says_goodbye_here_and_hello_there(
    broker: Mosquitto,
    listener: Listener,
    start: Start,
    digits_30fps: str,
    mosquitto: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    with Mosquitto(mosquitto, tmp_path / "other") as other, Listener(other.port) as there:
        daemon = start(device(broker, f"  one: {digits_30fps}"))
        listener.wait_for_many("one/predictions", 5)
        daemon.config.write_text(device(other, f"  one: {digits_30fps}"), encoding="utf-8")
        daemon.send(signal.SIGHUP)
        listener.wait_for("dev/status", lambda word: word == "offline")
        assert there.wait_for("dev/status") == "online"
        first_there = there.wait_for_many("one/predictions", 5)[0]["sequence"]
        assert first_there == listener.of("one/predictions")[-1]["sequence"] + 1


def test_results_wait_for_a_broker_that_is_away_and_then_come_in_order(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  digits: {digits_30fps}"), "--max-frames", "400")
    listener.wait_for_many("digits/predictions", 20)
    for _ in range(2):
        answered = len(listener.of("digits/predictions"))
        broker.kill()
        broker.start()
        listener.wait_for_many("digits/predictions", answered + 30)
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    sequence = [result["sequence"] for result in listener.of("digits/predictions")]
    # QoS 1: a result may come twice, and what the broker had acknowledged dies with it.
    once = list(dict.fromkeys(sequence))
    assert once == sorted(once)
    assert once[-1] == 399
    assert len(once) >= 360


@pytest.fixture
def lasting(mosquitto: str, tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto that keeps its sessions when it is stopped and started."""
    kept = f"allow_anonymous true\nuser root\npersistence true\npersistence_location {tmp_path}/"
    with Mosquitto(mosquitto, tmp_path, kept) as running:
        yield running


def test_a_broker_that_comes_late_gets_everything(
    lasting: Mosquitto, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(50):
        cv2.imwrite(str(folder / f"{number:02}.png"), np.full((8, 8, 3), number, np.uint8))
    pipelines = f"""  late:
    source: {{type: images, path: {folder}}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
  live:
    source: {{type: synthetic, width: 8, height: 8}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
"""
    with Listener(lasting.port) as listener:
        lasting.stop()
        daemon = start(device(lasting, pipelines))
        daemon.wait_for_log("source_ended")
        lasting.start()
        results = listener.wait_for_many("late/predictions", 50)
        assert [result["sequence"] for result in results] == list(range(50))
        listener.wait_for("dev/status", lambda word: word == "online")
        listener.wait_for("dev/info")


def test_a_finished_job_waits_for_its_broker_before_it_gives_its_results_up(
    lasting: Mosquitto, start: Start, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    pipelines = f"""  all:
    source: {{type: images, path: {tmp_path}/one.png}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
"""
    with Listener(lasting.port) as listener:
        lasting.stop()
        daemon = start(device(lasting, pipelines))
        daemon.wait_for_log("source_ended")
        lasting.start()
        assert listener.wait_for("all/predictions")["file"].endswith("one.png")
    assert daemon.wait() == 0, daemon.log


def test_what_waits_is_bounded_and_what_is_given_up_is_counted(
    broker: Mosquitto, start: Start, digits_30fps: str
) -> None:
    broker.kill()
    text = device(broker, f"  digits: {digits_30fps}", interval_s=0.5)
    text = text.replace("mqtt: {", "mqtt: {spool: {max_bytes: 100_000}, ")
    daemon = start(text.replace("fps: 30", "fps: 300"), "--max-frames", "600")
    daemon.wait_for_log("messages_dropped")
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "they are kept" in daemon.log


def test_a_valid_reload_restarts_only_what_changed(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, two_pipelines(digits_30fps)))
    listener.wait_for("one/predictions")
    listener.wait_for("two/predictions")
    three = f"  one: {digits_30fps}  three: {digits_30fps}"
    daemon.config.write_text(device(broker, three), encoding="utf-8")
    daemon.send(signal.SIGHUP)
    reloaded = listener.wait_for_event("reloaded")
    assert reloaded["details"] == {"kept": ["one"], "started": ["three"], "stopped": ["two"]}
    listener.wait_for("three/predictions")
    before = len(listener.of("one/predictions"))
    results = listener.wait_for_many("one/predictions", before + 10)
    assert [result["sequence"] for result in results] == list(range(before + 10))
    info = listener.wait_for("dev/info", lambda i: "three" in i["pipelines"])
    assert set(info["pipelines"]) == {"one", "three"}


def test_an_invalid_reload_changes_nothing_and_says_why(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}"))
    listener.wait_for("one/predictions")
    daemon.config.write_text(
        device(broker, f"  one: {digits_30fps}    on_late: skip\n"), encoding="utf-8"
    )
    daemon.send(signal.SIGHUP)
    failed = listener.wait_for_event("reload_failed")
    assert "pipelines.one.on_late" in failed["message"]
    before = len(listener.of("one/predictions"))
    listener.wait_for_many("one/predictions", before + 10)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


def test_a_twin_that_throws_us_off_is_noticed(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    text = device(broker, f"  one: {digits_30fps}")
    start(text)
    listener.wait_for("one/predictions")
    start(text, name="twin.yaml")
    found = listener.wait_for_event("twin_found")
    assert "says at 127.0.0.1" in found["message"]


def test_a_broker_that_speaks_only_mqtt_3_is_spoken_to_in_it(
    start: Start, digits_30fps: str
) -> None:
    with EmbeddedBroker() as old, Listener(old.port) as listener:
        daemon = start(
            f"device: dev\nmqtt: {{broker: '{old.url}'}}\npipelines:\n  one: {digits_30fps}"
        )
        back = listener.wait_for_event("broker_connected")
        assert "MQTT 3.1.1" in back["message"]
        results = listener.wait_for_many("one/predictions", 10)
        assert [result["sequence"] for result in results] == list(range(10))
        daemon.send(signal.SIGTERM)
        listener.wait_for("dev/status", lambda word: word == "offline")


def test_a_wrong_password_is_told_and_the_right_one_comes_from_the_environment(
    mosquitto: str, tmp_path: Path, start: Start, digits_30fps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "edge", "s3cret"], check=True)
    passwords.chmod(0o644)
    options = f"user root\nallow_anonymous false\npassword_file {passwords}"
    with Mosquitto(mosquitto, tmp_path, options) as closed:
        text = (
            f"device: dev\nmqtt: {{broker: '{closed.url}', username: edge, password: '${{PW}}'}}\n"
            f"pipelines:\n  one: {digits_30fps}"
        )
        monkeypatch.setenv("PW", "wr0ng")
        refused = start(text)
        refused.wait_for_log("broker_refused")
        monkeypatch.setenv("PW", "s3cret")
        let_in = start(text, name="right.yaml")
        let_in.wait_for_log("broker_connected")
        assert "s3cret" not in let_in.log
        assert "wr0ng" not in refused.log


@pytest.mark.parametrize(
    ("broker_url", "why"),
    [("mqtt://127.0.0.1:{port}", "connection refused"), ("mqtt://no.invalid", "name")],
)
def test_a_broker_that_cannot_be_reached_is_told_with_the_reason(
    broker_url: str, why: str, start: Start, digits_30fps: str
) -> None:
    url = broker_url.format(port=free_port())
    daemon = start(f"device: dev\nmqtt: {{broker: '{url}'}}\npipelines:\n  one: {digits_30fps}")
    daemon.wait_for_log("cannot be reached (")
    assert why in daemon.log.split("cannot be reached (")[1].split(")")[0]
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log


def test_a_camera_that_is_not_there_is_a_state_and_not_an_end(
    broker: Mosquitto, listener: Listener, start: Start
) -> None:
    daemon = start(
        device(
            broker,
            f"""  porch:
    source: {{type: camera, device: /dev/video-of-nobody}}
    model: {{path: {ROOT}/models/digits/digits.tflite}}
""",
        )
    )
    lost = listener.wait_for_event("source_lost")
    assert "/dev/video-of-nobody: there is no such camera" in lost["message"]
    assert listener.wait_for("porch/metrics")["frames"] == 0
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log


def test_a_model_that_cannot_be_opened_ends_a_daemon_that_has_nothing_else(
    broker: Mosquitto, listener: Listener, start: Start, tmp_path: Path
) -> None:
    model = tmp_path / "text.tflite"
    model.write_text("this is no model\n" * 50, encoding="utf-8")
    daemon = start(
        device(broker, f"  bad:\n    source: {{type: synthetic}}\n    model: {{path: {model}}}\n")
    )
    assert daemon.wait() == 1
    failed = listener.wait_for_event("pipeline_failed")
    assert str(model) in failed["message"]
    assert "Traceback" not in daemon.log


def test_frames_that_fell_due_while_a_worker_was_replaced_are_counted_as_lost(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    daemon = start(device(broker, f"  one: {digits_30fps}"))
    listener.wait_for_many("one/predictions", 10)
    os.kill(daemon.workers()[0], signal.SIGKILL)
    away_s = listener.wait_for_event("worker_restarted")["details"]["away_s"]
    before = len(listener.of("one/predictions"))
    listener.wait_for_many("one/predictions", before + 5)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    listener.wait_for("dev/status", lambda word: word == "offline")
    lost = listener.of("one/metrics")[-1]["dropped_total"]["source"]
    # The new worker's first frame comes a moment after it says that it is ready.
    assert away_s * 30 - 2 <= lost <= (away_s + 2) * 30 + 2
