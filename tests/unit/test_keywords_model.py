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
from edge.workshop.keyword_sounds import LABELS
from edge.workshop.keywords import varied
from edge.workshop.listening import CHANNELS, FRAMES, SCENE, features, stream
from edge.workshop.voices import RATE_HZ, trimmed

FOLDER = Path(__file__).parents[2] / "models" / "keywords"
MODEL = FOLDER / "keywords.tflite"


@pytest.fixture(scope="module")
def card() -> Any:
    return yaml.safe_load((FOLDER / "card.yaml").read_text())


def test_the_card_names_each_file_with_its_digest(card: Any) -> None:
    assert set(card["files"]) | {"card.yaml"} == {path.name for path in FOLDER.iterdir()}
    for name, told in card["files"].items():
        data = (FOLDER / name).read_bytes()
        assert told["size_bytes"] == len(data)
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert card["files"]["keywords.tflite"]["size_bytes"] < 60_000


def test_the_labels_are_the_words_that_it_was_trained_on() -> None:
    assert tuple((FOLDER / "labels.txt").read_text().split()) == LABELS


def test_the_golden_file_holds_the_answers_of_both_engines_to_this_very_model() -> None:
    given, answered = ends_of(MODEL.read_bytes())
    golden = read_golden(FOLDER / "keywords.golden.npz", given, [answered])
    assert golden.origin is not None
    assert golden.origin.digest == read_model_file(MODEL).sha256
    assert [engine.split()[0] for engine in golden.origin.engines] == ["litert", "tflite-runtime"]


@pytest.mark.parametrize("engine", ["litert", "tflite-runtime"])
def test_a_device_answers_the_samples_as_the_card_tells(card: Any, engine: str) -> None:
    if engine not in installed():
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    files = [FOLDER / sample["file"] for sample in card["samples"]]
    labels = ("--labels", FOLDER / "labels.txt", "--top-k", "1")
    done = edge("infer", MODEL, *files, *labels, "--json", "--engine", engine)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line)["predictions"][0] for line in done.stdout.splitlines()]
    assert len(answers) == len(LABELS)
    for sample, answer in zip(card["samples"], answers, strict=True):
        assert answer["label"] == sample["answer"]
        assert answer["score"] == pytest.approx(sample["score"], abs=0.02)
    right = [sample["answer"] == sample["truth"] for sample in card["samples"]]
    assert sum(right) >= 8


def test_the_front_end_gives_a_feature_each_10_ms_from_the_third_on() -> None:
    sound = np.random.default_rng(0).normal(0, 0.05, RATE_HZ)
    found = list(stream(sound))
    assert len(found) == 98
    assert all(feature.shape == (CHANNELS,) for feature in found)
    assert features(np.zeros(SCENE)).shape == (FRAMES, CHANNELS)


def test_a_tone_shows_in_its_channel_and_the_newest_feature_is_last() -> None:
    seconds = np.arange(SCENE) / RATE_HZ
    low, high = (0.3 * np.sin(2 * np.pi * hz * seconds) for hz in (300, 3000))
    sound = np.where(seconds < 1.5, low, high)
    found = features(sound)
    first, last = (int(np.argmax(part.mean(axis=0))) for part in (found[:10], found[-10:]))
    assert last > first + 10


def test_features_are_varied_within_what_the_input_can_hold() -> None:
    rng = np.random.default_rng(0)
    given = np.tile(rng.uniform(0, 26, (1, FRAMES, CHANNELS)).astype(np.float32), (4, 1, 1))
    found = varied(rng, given)
    assert found.shape == (4, FRAMES, 1, CHANNELS)
    assert np.min(found) >= 0
    assert np.max(found) <= 255 * 26 / 256
    assert not np.array_equal(found[0], found[1])


def test_silence_around_a_word_is_cut_off() -> None:
    word = np.sin(np.arange(4000, dtype=np.float32))
    silence = np.zeros(8000, np.float32)
    assert 4000 <= len(trimmed(np.concatenate([silence, word, silence]))) <= 4000 + 6 * 160
