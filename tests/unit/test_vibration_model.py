from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import edge

from edge.engines.choose import installed
from edge.engines.golden import read_golden
from edge.engines.model_file import read_model_file
from edge.workshop.ends import ends_of
from edge.workshop.log_spectrum import log_spectrum
from edge.workshop.vibration import scores
from edge.workshop.vibration_signals import hear

FOLDER = Path(__file__).parents[2] / "models" / "vibration"
MODEL = FOLDER / "vibration.tflite"
UNHEARD = range(1000, 1004)  # machines in no part of any plan


@pytest.fixture(scope="module")
def card() -> Any:
    return yaml.safe_load((FOLDER / "card.yaml").read_text())


def test_the_card_names_each_file_with_its_digest(card: Any) -> None:
    assert set(card["files"]) | {"card.yaml"} == {path.name for path in FOLDER.iterdir()}
    for name, told in card["files"].items():
        data = (FOLDER / name).read_bytes()
        assert told["size_bytes"] == len(data)
        assert told["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_golden_file_holds_the_answers_of_both_engines_to_this_very_model() -> None:
    given, answered = ends_of(MODEL.read_bytes())
    golden = read_golden(FOLDER / "vibration.golden.npz", given, [answered])
    assert golden.origin is not None
    assert golden.origin.digest == read_model_file(MODEL).sha256
    assert [engine.split()[0] for engine in golden.origin.engines] == ["litert", "tflite-runtime"]


@pytest.mark.parametrize("engine", ["litert", "tflite-runtime"])
def test_a_device_finds_the_scores_that_the_card_tells(card: Any, engine: str) -> None:
    if engine not in installed():
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    files = [FOLDER / sample["file"] for sample in card["samples"]]
    done = edge("infer", MODEL, *files, "--decode", "raw", "--json", "--engine", engine)
    assert done.returncode == 0, done.stderr
    rebuilt = [json.loads(line)["predictions"][0]["values"] for line in done.stdout.splitlines()]
    scale, zero_point = card["input"]["scale"], card["input"]["zero_point"]
    assert len(rebuilt) == len(card["samples"])
    for sample, values in zip(card["samples"], rebuilt, strict=True):
        taken = (np.load(FOLDER / sample["file"])[0].astype(float) - zero_point) * scale
        score = ((taken - values) ** 2).mean()
        assert score == pytest.approx(sample["score"], rel=0.02)
        assert (score > card["threshold"]) == sample["anomaly"]


def test_most_samples_with_a_fault_alarm_and_no_healthy_one_does(card: Any) -> None:
    alarms = {sample["file"]: sample["anomaly"] for sample in card["samples"]}
    healthy = [alarm for name, alarm in alarms.items() if name.startswith("healthy")]
    faulty = [alarm for name, alarm in alarms.items() if not name.startswith("healthy")]
    assert len(healthy) == 3
    assert not any(healthy)
    assert sum(faulty) >= len(faulty) - 1  # the card says how often an imbalance goes unheard


def test_the_raw_windows_lead_to_the_samples(card: Any) -> None:
    with np.load(FOLDER / "windows.npz", allow_pickle=False) as raw:
        bands_db = log_spectrum(raw["steps"] * raw["step_g"])
        assert bands_db == pytest.approx(raw["bands_db"], abs=0.01)
        names = [str(name) for name in raw["names"]]
    scale, zero_point = card["input"]["scale"], card["input"]["zero_point"]
    for name, bands in zip(names, bands_db, strict=True):
        tensor = np.load(FOLDER / f"{name}.npy")
        assert np.abs(np.rint(bands / scale) + zero_point - tensor[0]).max() <= 1


def test_machines_never_heard_are_told_apart_as_the_card_says(card: Any) -> None:
    model = MODEL.read_bytes()
    threshold = card["threshold"]

    def alarming(kind: Any) -> float:
        return float((scores(model, hear(7, UNHEARD, 25, kind).bands_db) > threshold).mean())

    told = {(row["fault"], row["severity"]): row for row in card["accuracy"]["faults"]}
    assert alarming(None) <= 0.05
    for fault in ("misalignment", "looseness", "outer race", "inner race"):
        assert told[fault, "moderate"]["detected_int8"] > 0.98
        assert alarming((fault, 1)) > 0.95
    severe = told["imbalance", "severe"]["detected_int8"]
    assert alarming(("imbalance", 2)) == pytest.approx(severe, abs=0.2)
