"""`make test-faults` in small; and that it finds what it is there to find."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_injection import run as run_module
from fault_injection.plan import KINDS, plan
from fault_injection.run import Failed, Run
from fault_injection.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PATIENCE = 4.0  # for a busy machine; how quick it is by itself is what `make test-faults` measures
LIMIT_S = 400


def test_each_kind_of_fault_is_borne_once(mosquitto: str, camera_library: Path) -> None:  # noqa: ARG001  needed
    faults = len(KINDS)
    paths = os.pathsep.join(str(ROOT / "tests" / name) for name in ("faults", "support"))
    command = ["--faults", str(faults), "--seed", "7", "--patience", str(PATIENCE)]
    done = subprocess.run(
        [sys.executable, "-m", "fault_injection", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^([a-z-]+) +(\d+) +\d+\.\d\d +", done.stdout, re.MULTILINE)
    left_out = re.findall(r"^left out.*: (.+)$", done.stdout, re.MULTILINE)
    skipped = left_out[0].split(", ") if left_out else []
    assert dict(rows).keys() == {kind.name for kind in KINDS} - set(skipped) | {"all"}
    assert f"{faults} faults in" in done.stdout


@pytest.fixture
def scene(mosquitto: str, camera_library: Path, tmp_path: Path) -> Iterator[Scene]:  # noqa: ARG001  needed
    compiler = shutil.which("cc")
    assert compiler is not None
    folder = tmp_path / "scene"
    folder.mkdir()
    with Scene(folder, mosquitto, compiler, mounts=False, patience=PATIENCE) as scene:
        yield scene


def test_a_journal_that_was_deleted_while_the_daemon_was_down_is_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "DELIVERY_LIMIT_S", 2)
    run = Run(scene)
    run.begin()
    scene.proxy.shut()
    before = scene.witness.read(killed=False)
    assert before
    while not scene.witness.read(killed=False):
        pass
    scene.manager.while_down.append(lambda: _delete_the_journal(scene))
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGKILL))
    scene.proxy.open()
    with pytest.raises(Failed, match="LOST") as failed:
        run.end()
    told = run.tell(failed.value)
    assert "accepted and never arrived" in told
    assert re.search(r"daemon \d+ ended \(SIGKILL\)", told)


def _delete_the_journal(scene: Scene) -> None:
    (journal,) = scene.runtime.path.glob("journal-*.log")
    journal.unlink()


def test_a_message_that_never_came_is_found_and_said_at_which_fault(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(scene)
    run.begin()
    take, taken_away = scene.ledger.take, list[bytes]()

    def take_most(topic: str, payload: bytes) -> None:
        if topic.endswith("steady/predictions") and not taken_away:
            taken_away.append(payload)
        else:
            take(topic, payload)

    monkeypatch.setattr(scene.ledger, "take", take_most)
    with pytest.raises(Failed, match="LOST: of steady") as failed:
        run.go(plan(1, 20, ["hostile-commands"]))
    assert taken_away
    assert "FAILED at #1 hostile-commands" in run.tell(failed.value)


def test_a_daemon_that_ends_by_itself_is_no_fault_of_ours(scene: Scene) -> None:
    run = Run(scene)
    run.begin()
    os.kill(scene.manager.pid, signal.SIGTERM)
    with pytest.raises(Failed, match="nobody had struck it: exit status 0"):
        run.go(plan(1, 20, ["clock-jump"]))
