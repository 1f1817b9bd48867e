"""What is remembered of updates outlives the daemon and power cuts, whole; what is not goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from releases import model_folder

from edge.config.canary import Canary
from edge.supervisor.updates.records import Phase, Release, Share, Update
from edge.supervisor.updates.store import Store

if TYPE_CHECKING:
    from killed_at import KilledAt


def release_of(folder: Path, content: bytes = b"a model") -> Release:
    """Make a model's folder; return what is remembered of it."""
    return Release(
        digest=model_folder(folder, content),
        name="digits",
        version="1.1",
        key_id="E7620F1842B4E81F",
        model="digits.tflite",
        model_sha256=sha256(content).hexdigest(),
        size_bytes=len(content),
    )


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"STATE_DIRECTORY": str(tmp_path / "state")}


def test_a_record_is_there_after_a_restart(environ: dict[str, str], tmp_path: Path) -> None:
    release = release_of(tmp_path / "digits")
    update = Update(written="0" * 64, good=release).begun("https://host/card.yaml", Canary())
    Store("dev", environ).write({"cam": update})
    assert Store("dev", environ).updates == {"cam": update}
    assert Store("another", environ).updates == {}


def test_a_damaged_file_is_set_aside(environ: dict[str, str]) -> None:
    store = Store("dev", environ)
    store.write({"cam": Update(written="0" * 64)})
    assert store.folder is not None
    (store.folder / "state.json").write_text("{")
    (store.folder / "tmpabc").write_text("half a state")
    assert Store("dev", environ, aside=False).trouble.endswith("state.json: is damaged")
    again = Store("dev", environ)
    assert not (store.folder / "tmpabc").exists()
    assert again.updates == {}
    assert again.trouble.endswith("state.json: was damaged, and is now state.json.set-aside")
    assert Store("dev", environ).trouble == ""


def test_what_cannot_be_written_changes_nothing(environ: dict[str, str]) -> None:
    store = Store("dev", environ)
    store.write({"cam": Update(written="0" * 64)})
    Path(environ["STATE_DIRECTORY"]).rename(Path(environ["STATE_DIRECTORY"] + "-gone"))
    Path(environ["STATE_DIRECTORY"]).write_text("a file")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        store.write({})
    assert list(store.updates) == ["cam"]


def test_a_model_is_adopted_whole_and_its_damage_is_seen(
    environ: dict[str, str], tmp_path: Path
) -> None:
    store = Store("dev", environ)
    fetched = tmp_path / "digits"
    release = release_of(fetched)
    store.adopt(fetched, release.digest)
    assert not fetched.exists()
    assert store.damage(release) == ""
    model = store.place(release.digest) / "digits.tflite"
    model.write_bytes(b"A model")
    assert "digits.tflite: has the sha256" in store.damage(release)
    model.unlink()
    assert store.damage(release).endswith("digits.tflite: there is no such file")
    (store.place(release.digest) / "card.yaml").write_text("x: y")
    assert store.damage(release).endswith("card.yaml: is not what it was when it came")


def test_only_what_is_remembered_stays(environ: dict[str, str], tmp_path: Path) -> None:
    store = Store("dev", environ)
    releases = []
    for number in range(4):
        fetched = tmp_path / str(number)
        release = release_of(fetched, b"model %d" % number)
        store.adopt(fetched, release.digest)
        releases.append(release)
    good, former, candidate, other = releases
    update = Update(
        written="0" * 64, good=good, former=former, candidate=candidate, phase="probation"
    )
    door = Update(written="0" * 64, phase="fetching", card="x")
    store.write({"cam": update, "door": door})
    for name in (".cam.fetching", ".door.fetching", "door"):
        store.incoming(name).mkdir()
    assert store.folder is not None
    # While one is fetched, a model that no record names may be that one.
    assert {path.name for path in store.sweep()} == {".cam.fetching"}
    assert store.damage(other) == ""
    assert [store.damage(each) for each in (good, former, candidate)] == ["", "", ""]
    assert sorted(path.name for path in (store.folder / "incoming").iterdir()) == [
        ".door.fetching",
        "door",
    ]
    store.write({"cam": update, "door": door.ended("refused", "why", "now")})
    assert {path.name for path in store.sweep()} == {other.digest, ".door.fetching", "door"}
    assert store.sweep() == []


def test_a_device_that_is_renamed_keeps_its_models(environ: dict[str, str], tmp_path: Path) -> None:
    store = Store("dev", environ)
    assert store.rename("porch") == ""
    release = release_of(tmp_path / "digits")
    store.adopt(tmp_path / "digits", release.digest)
    store.write({"cam": Update(written="0" * 64, good=release)})
    assert store.rename("shed") == ""
    assert store.damage(release) == ""
    assert Store("shed", environ).updates == store.updates
    Store("dev", environ).write({})
    assert "after a restart its models are those of the YAML" in store.rename("dev")
    assert store.damage(release) == ""


STEPS = ("begun", "verified", "tried", "promoted", "good", "refused", "rolled_back", "gone_back")


def step(update: Update, name: str, release: Release) -> Update:
    """Take a step that is possible in this phase; others change nothing."""
    possible: dict[Phase, tuple[str, ...]] = {
        "none": ("begun", "gone_back"),
        "fetching": ("verified", "refused"),
        "trying": ("tried", "refused"),
        "shadow": ("promoted", "rolled_back"),
        "probation": ("good", "rolled_back"),
    }
    if name not in possible[update.phase] or (name == "gone_back" and update.good is None):
        return update
    if name == "begun":
        return update.begun("https://host/card.yaml", Canary())
    if name == "verified":
        return update.verified(release)
    if name == "tried":
        return update.tried()
    if name == "promoted":
        return update.promoted(Share(frames=10, missed=1))
    if name == "gone_back":
        return update.gone_back("by command", "now")
    return update.ended(name, "why", "now")  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_whatever_the_steps_there_is_a_model_that_serves_and_a_way_back(names: list[str]) -> None:
    update = Update(written="0" * 64)
    trusted: set[str | None] = {None}
    for number, name in enumerate(names):
        release = Release(
            digest=f"{number:064x}",
            name="digits",
            version=str(number),
            key_id="k",
            model="a.tflite",
            model_sha256="0" * 64,
            size_bytes=1,
        )
        before, update = update, step(update, name, release)
        if name == "good" and before.phase == "probation":
            assert update.good == before.candidate
            assert update.former == before.good
            trusted.add(update.good.digest if update.good is not None else None)
        assert (update.good.digest if update.good is not None else None) in trusted
        if update.phase != "probation":
            assert update.serving == update.good
        if update.phase == "none":
            assert update.candidate is None
            assert update.card == ""
        assert update.serving is None or update.serving in update.releases
        assert Update.model_validate_json(update.model_dump_json()) == update


WRITES = """
import shutil, sys
sys.path[:0] = {path!r}
from edge.config.canary import Canary
from edge.supervisor.updates.records import Release, Update
from edge.supervisor.updates.store import Store
store = Store("dev")
for number, told in enumerate({releases!r}):
    fetched, release = store.incoming(f"cam{{number}}"), Release.model_validate_json(told)
    shutil.copytree({models!r} + f"/{{number}}", fetched)
    update = store.updates.get("cam", Update(written="0" * 64))
    store.write({{"cam": (update := update.begun(f"url {{number}}", Canary()))}})
    store.adopt(fetched, release.digest)
    for taken in (lambda: update.verified(release), lambda: update.ended("good", "why", "now")):
        store.write({{"cam": (update := taken())}})
    store.sweep()
"""


def test_a_death_at_any_durable_write_leaves_a_whole_state(
    tmp_path: Path, killed_at: KilledAt
) -> None:
    models = tmp_path / "models"
    releases = [release_of(models / str(n), b"%d" % n).model_dump_json() for n in range(2)]
    code = WRITES.format(path=sys.path, releases=releases, models=str(models))

    def run(number: int) -> Path:
        folder = tmp_path / f"state-{number}"
        environ = os.environ | {"STATE_DIRECTORY": str(folder)}
        environ |= killed_at.environ(number, folder, tmp_path / f"log-{number}")
        done = subprocess.run([sys.executable, "-c", code], env=environ, check=False)
        assert done.returncode == (-signal.SIGKILL if number else 0)
        return folder

    run(0)
    writes = (tmp_path / "log-0").read_text().splitlines()
    assert sum(" rename " in line for line in writes) == 8
    found = []
    for number in range(1, len(writes) + 1):
        store = Store("dev", {"STATE_DIRECTORY": str(run(number))})
        assert store.trouble == ""
        for update in store.updates.values():
            assert [store.damage(release) for release in update.releases] == [""] * len(
                update.releases
            )
            found.append((update.phase, update.good is not None))
        store.sweep()
        assert not list((store.folder or tmp_path).glob("tmp*"))
    assert sorted(set(found)) == [
        ("fetching", False),
        ("fetching", True),
        ("none", True),
        ("trying", False),
        ("trying", True),
    ]
