"""What the doctor and `edge check` say of models that came over the air."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from releases import DIGITS, model_folder

from edge.catalogue.secret_key import SecretKey
from edge.cli import main
from edge.config.canary import Canary
from edge.config.load import load
from edge.doctor.checks.updates import Updates
from edge.doctor.patient import Patient
from edge.supervisor.updates.candidate import written_digest
from edge.supervisor.updates.records import Release, Update
from edge.supervisor.updates.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from edge.doctor.finding import Finding

KEY = SecretKey.new().public


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copy(DIGITS / "digits.tflite", tmp_path)
    (tmp_path / "factory.pub").write_text(KEY.file)
    path = tmp_path / "device.yaml"
    path.write_text(
        "device: dev\n"
        "updates: {keys: [factory.pub], fetch_from: ['https://host/models/']}\n"
        "commands: {allow: [update-model]}\n"
        "pipelines: {cam: {source: {type: synthetic}, model: {path: digits.tflite}}}\n"
    )
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of that device, which keeps one model."""
    store = Store("dev")
    fetched = tmp_path / "fetched"
    store.adopt(fetched, digest := model_folder(fetched, b"a model"))
    store.write({"cam": Update(written="", good=release(digest))})
    return store


def release(digest: str) -> Release:
    return Release(
        digest=digest,
        name="digits",
        version="1.1",
        key_id=KEY.id,
        model="digits.tflite",
        model_sha256="0" * 64,
        size_bytes=7,
    )


def findings(config: Path, tmp_path: Path) -> list[Finding]:
    patient = Patient(root=tmp_path / "root", config=config, device=load(config))
    return list(Updates().look(patient))


def put(store: Store, config: Path, **changed: object) -> Update:
    """Have the store's record be of this YAML, and otherwise as told."""
    update = store.updates["cam"].model_copy(
        update={"written": written_digest(load(config).pipelines["cam"]), **changed}
    )
    store.write({"cam": update})
    return update


def test_whose_models_are_taken_is_told(config: Path, tmp_path: Path) -> None:
    (found,) = findings(config, tmp_path)
    assert found.level == "ok"
    assert found.says == f"models are taken from https://host/models/, signed by {KEY.id}"


def test_what_serves_and_how_the_last_update_ended(
    config: Path, tmp_path: Path, store: Store
) -> None:
    update = put(store, config)
    assert findings(config, tmp_path)[1].says == "cam: runs digits 1.1"
    begun = update.begun("https://host/models/card.yaml", Canary())
    store.write({"cam": begun})
    says = "cam: runs digits 1.1; https://host/models/card.yaml is on its way, in the step fetching"
    assert findings(config, tmp_path)[1].says == says
    store.write({"cam": begun.ended("refused", "it has other labels", "now")})
    last = findings(config, tmp_path)[1]
    assert last.level == "warning"
    assert last.says.endswith("card.yaml was refused: it has other labels")


def test_a_damaged_model_and_a_damaged_store_are_told(
    config: Path, tmp_path: Path, store: Store
) -> None:
    update = put(store, config)
    assert update.good is not None
    (store.place(update.good.digest) / "digits.tflite").write_bytes(b"another")
    damaged = findings(config, tmp_path)[1]
    assert (damaged.level, damaged.cure) == ("problem", "deploy it anew")
    assert store.folder is not None
    state = store.folder / "state.json"
    state.write_text("{")
    assert "state.json: is damaged" in findings(config, tmp_path)[1].says
    assert state.read_text() == "{"  # the doctor changes nothing


def test_a_model_of_another_yaml_is_told(config: Path, tmp_path: Path, store: Store) -> None:
    assert store.updates
    assert "the YAML has another model by now" in findings(config, tmp_path)[1].says


def test_check_tells_of_keys_by_their_place(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(config)]) == 0
    said = capsys.readouterr().out
    assert f"updates: signed by {KEY.id}, from https://host/models/, up to 64 MB" in said
    config.write_text(config.read_text().replace("commands: {allow: [update-model]}\n", ""))
    assert main(["check", str(config)]) == 0
    assert "`commands.allow` has no `update-model`" in capsys.readouterr().out
    (config.parent / "factory.pub").unlink()
    assert main(["check", str(config)]) == 2
    said = capsys.readouterr().err
    assert "device.yaml:2: updates.keys[0]: " in said
    assert "factory.pub: cannot be read: No such file or directory" in said
