"""Models over the air, with a real daemon, broker, web server and real models."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from operators import Operator
from parties import PATIENCE_S, device
from releases import DIGITS, Publisher, other_build, permuted

from edge.catalogue.secret_key import SecretKey
from edge.state import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from killed_at import KilledAt
    from parties import Daemon, Mosquitto
    from trial_delegate import TrialDelegate

    Start = Callable[..., Daemon]

COMMANDS = "commands: {allow: all, per_second: 100}\n"
QUICK = {"frames": 30, "share": 1.0, "probation_s": 0.3, "max_latency_ratio": 100.0}
"""A canary that says nothing of this machine's speed."""
LONG = {**QUICK, "probation_s": 600.0}
AT_ONCE = {**LONG, "frames": 0}
OURS = hashlib.sha256((DIGITS / "digits.tflite").read_bytes()).hexdigest()
THEIRS = hashlib.sha256(other_build()).hexdigest()


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
    faster = digits_30fps.replace("fps: 30", "fps: 60").replace("_ms: 1000", "_ms: 5000")
    return device(broker, f"  cam: {faster}\n") + COMMANDS + publisher.yaml


def update(operator: Operator, card: str, **canary: Any) -> Any:
    """Give the command; return the answer."""
    return operator.ask("update-model", pipeline="cam", card=card, canary=canary)


def wait_for(operator: Operator, event: str) -> Any:
    """Wait for an event of the pipeline; return it."""
    message = operator.wait_for(
        "edge/dev/cam/events", lambda m: json.loads(m.payload)["event"] == event
    )
    return json.loads(message.payload)


def told(operator: Operator) -> list[str]:
    """Return the names of the events of updates so far."""
    names = [each["event"] for each in operator.of("edge/dev/cam/events")]
    return [name for name in names if name.startswith(("update_", "worker_died"))]


def died_so_often(operator: Operator, times: int, _newest: Any) -> bool:
    """Whether workers have ended so many times by themselves, as events tell."""
    return told(operator).count("worker_died") >= times


def wait_for_result_of(operator: Operator, digest: str) -> None:
    """Wait for a result of this model that comes from now on."""
    operator.result_after()
    before = len(operator.of("edge/dev/cam/predictions"))
    operator.wait_for(
        "edge/dev/cam/predictions",
        lambda m: (
            (said := json.loads(m.payload))["model_digest"] == digest and said["sequence"] >= before
        ),
    )


def wait_for_worker(operator: Operator, boots: set[str]) -> None:
    """Wait until a daemon has a worker that is none of these boots; it is one of them then."""
    message = operator.wait_for(
        "edge/dev/info",
        lambda m: (
            (said := json.loads(m.payload))["boot"] not in boots
            and said["pipelines"]["cam"]["state"] == "running"
        ),
    )
    boots.add(json.loads(message.payload)["boot"])


def in_info(operator: Operator) -> Any:
    """Return what the newest info message says of the pipeline's update."""
    return operator.of("edge/dev/info")[-1]["pipelines"]["cam"]["update"]


def models_on_disk(tmp_path: Path, count: int) -> list[Path]:
    """Wait until there are so many; return their folders."""
    end = time.monotonic() + PATIENCE_S
    while len(found := sorted(tmp_path.glob("state/updates-*/models/*"))) != count:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_a_signed_model_goes_all_the_way_and_back_by_command(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    golden = {"digits.golden.npz": (DIGITS / "digits.golden.npz").read_bytes()}
    card = publisher.publish("digits", other_build(), files=golden)
    answer = update(operator, card, **QUICK)
    assert answer["done"], answer
    assert answer["message"] == f"cam: {card} is fetched; events tell what becomes of it"
    good = wait_for(operator, "update_good")
    assert told(operator) == [
        "update_fetching",
        "update_verified",
        "update_tried",
        "update_in_shadow",
        "update_promoted",
        "update_good",
    ]
    verified, tried = wait_for(operator, "update_verified"), wait_for(operator, "update_tried")
    assert verified["details"]["key_id"] == publisher.key.public.id
    assert verified["details"]["model_digest"] == THEIRS
    assert tried["details"]["golden"]["vectors"] > 0
    promoted = wait_for(operator, "update_promoted")["details"]
    assert promoted["frames"] >= 30
    assert promoted["agreement"] >= 0.9
    assert good["details"]["serving"] == "digits 1.1"
    operator.wait_for(
        "edge/dev/info",
        lambda m: (
            (said := json.loads(m.payload)["pipelines"]["cam"]["update"])
            and said["phase"] == "none"
        ),
    )
    assert in_info(operator)["serving"]["name"] == "digits"
    models = [each["model_digest"] for each in operator.of("edge/dev/cam/predictions")]
    assert sorted(set(models), key=models.index) == [OURS, THEIRS]
    assert update(operator, card)["message"].startswith("cam: ")
    operator.wait_for(
        "edge/dev/cam/events",
        lambda m: json.loads(m.payload)["message"] == "digits 1.1: it serves already",
    )
    # It outlives the daemon, and goes by command.
    daemon.send(signal.SIGKILL)
    daemon.wait()
    operator.wait_for("edge/dev/status", lambda m: m.payload == b"offline")
    operator.forget()
    start(text)
    wait_for_result_of(operator, THEIRS)
    models_on_disk(tmp_path, 1)
    answer = operator.ask("rollback-model", pipeline="cam")
    assert answer["message"] == "cam goes back from digits 1.1 to the YAML's model"
    wait_for_result_of(operator, OURS)
    assert told(operator)[-1] == "update_rolled_back"
    assert not operator.ask("rollback-model", pipeline="cam")["done"]


def bad_models(publisher: Publisher) -> Iterator[tuple[str, str]]:
    """Publish models that no device may take; yield each URL, and what it is refused for."""
    model, root, url = other_build(), publisher.root, publisher.url
    golden = {"digits.golden.npz": (DIGITS / "digits.golden.npz").read_bytes()}
    labels = {"labels.txt": b"\n".join(b"%d" % n for n in [*range(9), 19])}
    yield publisher.publish("stranger", model, key=SecretKey.new()), "is signed with the key"
    changed = publisher.publish("changed", model)
    card = root / "changed/card.yaml"
    card.write_text(card.read_text().replace("One handwritten", "Two handwritten"))
    yield changed, "was changed after it was signed"
    unsigned = publisher.publish("unsigned", model)
    (root / "unsigned/card.yaml.minisig").unlink()
    yield unsigned, "cannot be trusted without a signature"
    other = publisher.publish("other", model)
    (root / "other/digits.tflite").write_bytes(permuted())
    yield other, "has the sha256"
    large = publisher.publish("large", model, files={"README.md": b"x" * 20_000})
    yield large, "at most 50,000 are taken"
    yield "https://example.com/card.yaml", "is not below `updates.fetch_from`"
    yield "file:///etc/passwd", "is not below `updates.fetch_from`"
    yield f"{url}nothing/card.yaml", "404"
    renamed = publisher.publish("labels", model, files=labels)
    yield renamed, "it has other labels: '19' is new, '9' is gone (`same_labels`)"
    yield publisher.publish("fewer", model, files={"labels.txt": b"a\nb"}), "labels"
    yield publisher.publish("golden", permuted(), files=golden), "golden"
    yield publisher.publish("broken", b"TFL3" * 100), "digits.tflite"
    decode = {"decode": {"type": "raw"}}
    raw = publisher.publish("raw", model, pipeline=decode)
    yield raw, "its decoder is `raw`, not `classification`"
    yield publisher.publish("strange", model, pipeline={"model": {"std": 0}}), "std"


def test_what_is_not_as_it_must_be_is_refused_and_nothing_else_happens(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    daemon = start(text.replace("updates: {", "updates: {max_mb: 0.05, "))
    operator.wait_for("edge/dev/cam/predictions")
    workers = daemon.workers()
    for card, why in bad_models(publisher):
        operator.forget()
        answer = update(operator, card, **QUICK)
        refused = answer if not answer["done"] else wait_for(operator, "update_refused")
        assert why in refused["message"]
        operator.wait_for(
            "edge/dev/cam/predictions", lambda m: json.loads(m.payload)["model_digest"] == OURS
        )
        assert set(told(operator)) <= {"update_fetching", "update_verified", "update_refused"}
    answer = update(operator, f"{publisher.url}card.yaml", frames="many")
    assert answer["message"].startswith("`canary`: `frames`:")
    assert daemon.workers() == workers
    models_on_disk(tmp_path, 0)
    assert "Traceback" not in daemon.log


def test_a_model_that_disagrees_never_serves(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    start(text)
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", permuted()), **QUICK)
    back = wait_for(operator, "update_rolled_back")
    assert "the models say the same of" in back["message"]
    assert back["details"]["step"] == "shadow"
    assert back["details"]["agreement"] < 0.5
    wait_for_result_of(operator, OURS)
    models = {each["model_digest"] for each in operator.of("edge/dev/cam/predictions")}
    assert models == {OURS}
    assert in_info(operator)["last"]["ending"] == "rolled_back"
    models_on_disk(tmp_path, 0)


def test_a_person_may_have_the_last_word(
    operator: Operator, publisher: Publisher, start: Start, text: str
) -> None:
    start(text)
    operator.wait_for("edge/dev/cam/predictions")
    assert not operator.ask("promote-model", pipeline="cam")["done"]
    card = publisher.publish("digits", other_build())
    update(operator, card, **LONG, promote="command")
    assert "`promote-model` lets it serve" in wait_for(operator, "update_ready")["message"]
    assert "update_promoted" not in told(operator)
    assert update(operator, card)["message"] == "cam is at it already, in the step `shadow`"
    assert not update(operator, card.replace("digits", "other"))["done"]
    # A change by command starts a worker anew; the new model goes on beside.
    assert operator.ask("set", pipeline="cam", threshold=0.1)["done"]
    operator.result_after()
    assert operator.ask("promote-model", pipeline="cam")["done"]
    wait_for(operator, "update_promoted")
    wait_for_result_of(operator, THEIRS)
    assert operator.ask("rollback-model", pipeline="cam")["done"]
    back = wait_for(operator, "update_rolled_back")
    assert (back["details"]["why"], back["details"]["step"]) == ("by command", "probation")
    wait_for_result_of(operator, OURS)
    assert "worker_died" not in told(operator)


def test_a_fetch_is_cancelled_by_command_and_gone_on_with_after_a_death(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    publisher.held.clear()
    card = publisher.publish("digits", other_build())
    update(operator, card, **QUICK)
    wait_for(operator, "update_fetching")
    answer = operator.ask("rollback-model", pipeline="cam")
    assert answer["message"] == f"{card} is given up, in the step `fetching`"
    assert wait_for(operator, "update_refused")["details"]["why"] == "by command"
    operator.forget()
    update(operator, card, **QUICK)
    wait_for(operator, "update_fetching")
    daemon.send(signal.SIGKILL)
    daemon.wait()
    publisher.held.set()
    start(text)
    wait_for(operator, "update_good")
    assert "update_resumed" in told(operator)
    wait_for_result_of(operator, THEIRS)
    models_on_disk(tmp_path, 1)


def test_a_model_whose_workers_die_is_taken_back(
    operator: Operator, publisher: Publisher, start: Start, text: str
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", other_build()), **AT_ONCE)
    wait_for(operator, "update_promoted")
    for deaths in range(1, 4):
        wait_for_result_of(operator, THEIRS)
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGKILL)
        enough = partial(died_so_often, operator, deaths)
        operator.wait_for("edge/dev/cam/events", enough)
    back = wait_for(operator, "update_rolled_back")
    assert "a crash loop: 3 workers with it" in back["message"]
    assert "killed by SIGKILL" in back["message"]
    wait_for_result_of(operator, OURS)


def test_a_crash_loop_across_daemons_ends_with_the_last_good_model(
    operator: Operator, publisher: Publisher, start: Start, text: str
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", other_build()), **AT_ONCE)
    wait_for(operator, "update_promoted")
    boots: set[str] = set()
    for _ in range(3):  # the swap was the first start, two more are allowed
        wait_for_worker(operator, boots)
        wait_for_result_of(operator, THEIRS)
        daemon.send(signal.SIGKILL)
        daemon.wait()
        operator.forget()
        daemon = start(text)
    back = wait_for(operator, "update_rolled_back")
    assert "a crash loop" in back["message"]
    wait_for_result_of(operator, OURS)
    operator.forget()
    # Ends in order count for nothing.
    update(operator, publisher.publish("digits", other_build(), version="1.2"), **AT_ONCE)
    wait_for(operator, "update_promoted")
    boots.clear()
    for _ in range(4):
        wait_for_worker(operator, boots)
        wait_for_result_of(operator, THEIRS)
        daemon.send(signal.SIGTERM)
        daemon.wait()
        operator.forget()
        daemon = start(text)
    wait_for_result_of(operator, THEIRS)
    assert told(operator) == []


def test_misses_on_probation_are_held_against_those_before(
    operator: Operator, publisher: Publisher, start: Start, text: str, delegate: TrialDelegate
) -> None:
    accelerated = f"    model:\n      accelerator: {delegate.yaml()}\n"
    start(text.replace("    model:\n", accelerated).replace("_ms: 5000", "_ms: 400"))
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", other_build()), **AT_ONCE)
    wait_for(operator, "update_promoted")
    wait_for_result_of(operator, THEIRS)
    delegate.be("slow 500")
    back = wait_for(operator, "update_rolled_back")
    assert "frames missed the deadline" in back["message"]
    assert back["details"]["missed_share"] > back["details"]["missed_share_before"]
    delegate.be("ok")
    wait_for_result_of(operator, OURS)


def test_who_edits_the_yaml_is_heard(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", other_build()), **QUICK)
    wait_for(operator, "update_good")
    wait_for_result_of(operator, THEIRS)
    assert operator.ask("reload")["done"]
    wait_for_result_of(operator, THEIRS)
    edited = daemon.config.read_text().replace("    model:\n", "    model:\n      threads: 2\n")
    daemon.config.write_text(edited)
    assert operator.ask("reload")["done"]
    wait_for(operator, "update_dropped")
    wait_for_result_of(operator, OURS)
    assert json.loads(next(tmp_path.glob("state/updates-*/state.json")).read_text()) == {
        "version": 1,
        "pipelines": {},
    }


def test_a_model_that_the_disk_has_damaged_is_not_run(
    operator: Operator, publisher: Publisher, start: Start, text: str, tmp_path: Path
) -> None:
    daemon = start(text)
    operator.wait_for("edge/dev/cam/predictions")
    update(operator, publisher.publish("digits", other_build()), **QUICK)
    wait_for(operator, "update_good")
    daemon.send(signal.SIGTERM)
    daemon.wait()
    operator.forget()
    (place,) = models_on_disk(tmp_path, 1)
    (place / "digits.tflite").write_bytes(permuted())
    start(text)
    back = operator.wait_for(
        "edge/dev/cam/events",
        lambda m: json.loads(m.payload)["event"] == "update_rolled_back",
    )
    assert "digits.tflite: has the sha256" in json.loads(back.payload)["message"]
    wait_for_result_of(operator, OURS)


def test_a_death_at_any_step_leaves_one_model_that_works(
    operator: Operator,
    publisher: Publisher,
    start: Start,
    text: str,
    tmp_path: Path,
    killed_at: KilledAt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = publisher.publish("digits", other_build())
    canary = {**QUICK, "frames": 10}
    state = tmp_path / "state"

    def begin(number: int) -> Daemon:
        with monkeypatch.context() as patch:
            log = tmp_path / f"writes-{number}"
            for name, value in killed_at.environ(number, updates_folder(state), log).items():
                patch.setenv(name, value)
            daemon = start(text)
        operator.wait_for("edge/dev/cam/predictions")
        operator.publish(
            "edge/dev/command/update-model",
            json.dumps({"pipeline": "cam", "card": card, "canary": canary}).encode(),
        )
        return daemon

    def over() -> Any:
        """Wait until no update is under way; return what the info message says of it."""
        message = operator.wait_for(
            "edge/dev/info",
            lambda m: (
                (said := json.loads(m.payload)["pipelines"]["cam"])["state"] == "running"
                and (said["update"] is None or said["update"]["phase"] == "none")
            ),
        )
        return json.loads(message.payload)["pipelines"]["cam"]["update"]

    def end(daemon: Daemon, number: signal.Signals) -> int:
        daemon.send(number)
        status = daemon.wait()
        forget(operator)
        return status

    undisturbed = begin(0)
    wait_for(operator, "update_good")
    end(undisturbed, signal.SIGTERM)
    writes = (tmp_path / "writes-0").read_text().splitlines()
    steps = [int(line.split()[0]) for line in writes if " rename " in line]
    assert len(steps) == 6  # begun, here, verified, tried, promoted, good
    found = []
    for number in steps:
        shutil.rmtree(state)
        killed = begin(number)
        assert killed.wait() == -signal.SIGKILL
        forget(operator)
        daemon = start(text)
        update = over()
        serving = THEIRS if update is not None and update["serving"] else OURS
        wait_for_result_of(operator, serving)
        models_on_disk(tmp_path, int(serving == THEIRS))
        found.append((number, serving))
        assert "update_failed" not in daemon.log
        assert end(daemon, signal.SIGTERM) == 0
    # Before the first write there is no update; each later step is gone on with.
    assert found == [(number, OURS if number == steps[0] else THEIRS) for number in steps]


def updates_folder(state: Path) -> Path:
    return state / f"updates-{file_name('dev')}"


def forget(operator: Operator) -> None:
    """Forget all, once the device is said to be away, which is the last word of it."""
    operator.wait_for("edge/dev/status", lambda m: m.payload == b"offline")
    operator.forget()
