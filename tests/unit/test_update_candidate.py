"""A pipeline with a model from over the air: what is the card's, and what stays the YAML's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config.pipeline import Pipeline
from edge.errors import ModelError
from edge.supervisor.updates.candidate import (
    cannot_be_updated,
    differences,
    with_release,
    written_digest,
)
from edge.supervisor.updates.records import Release
from edge.wire import Ready

FOLDER = Path("/state/models/abc")


def pipeline(decode: dict[str, Any] | None = None, **model: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "source": {"type": "synthetic"},
            "model": {"path": "/yaml/a.tflite", **model},
            "decode": {"type": "classification", **(decode or {})},
        }
    )


def release(**fields: Any) -> Release:
    return Release(
        digest="0" * 64,
        name="digits",
        version="2",
        key_id="k",
        model="b.tflite",
        model_sha256="1" * 64,
        size_bytes=1,
        **fields,
    )


def ready(*outputs: str) -> Ready:
    return Ready("litert", "2", "auto", 1, "d", 1, ["int8 [1, 8]"], list(outputs), 1, 1, 1)


def test_the_cards_word_counts_where_it_has_one_and_the_yamls_where_not() -> None:
    written = pipeline(labels=["a", "b"], golden="/yaml/a.npz", resize="crop", threads=2)
    plain = with_release(written, release(), FOLDER).model
    assert (plain.path, plain.labels) == (FOLDER / "b.tflite", ["a", "b"])
    assert (plain.resize, plain.threads) == ("crop", 2)
    assert plain.golden is None  # the YAML's answers are another model's
    full = release(
        labels="labels.txt", golden="b.npz", options={"resize": "letterbox", "mean": 1, "std": 2}
    )
    model = with_release(written, full, FOLDER).model
    assert model.labels == FOLDER / "labels.txt"
    assert model.golden is not None
    assert (model.golden.path, model.golden.steps) == (FOLDER / "b.npz", 1)
    assert (model.resize, model.mean, model.std) == ("letterbox", 1, 2)


def test_how_exact_an_answer_must_be_is_the_yamls() -> None:
    written = pipeline(golden={"path": "/yaml/a.npz", "steps": 3})
    model = with_release(written, release(golden="b.npz"), FOLDER).model
    assert model.golden is not None
    assert model.golden.steps == 3


def test_a_threshold_is_the_operators() -> None:
    written = pipeline({"threshold": 0.6, "top_k": 3})
    decode = {"type": "classification", "threshold": 0.1, "top_k": 5}
    found = with_release(written, release(decode=decode), FOLDER).decode
    assert (getattr(found, "threshold", None), getattr(found, "top_k", None)) == (0.6, 5)


def test_without_a_release_it_is_the_yamls() -> None:
    assert with_release(pipeline(), None, None) == pipeline()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"options": {"std": 0}}, "std"),
        ({"options": {"resize": "squash"}}, "resize"),
        ({"decode": {"type": "none"}}, "none"),
        ({"decode": {"type": "classification", "top_k": 0}}, "top_k"),
    ],
)
def test_what_does_not_fit_is_told(card: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        with_release(pipeline(), release(**card), FOLDER)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (["a", "b"], ["a", "b"], ""),
        (["a", "b"], ["b", "a"], "it has other labels: in another order"),
        (["a", "b"], ["a", "c"], "it has other labels: 'c' is new, 'b' is gone"),
        (["a"], ["a", "b"], "it has other labels: 2 labels, not 1, 'b' is new"),
    ],
)
def test_other_labels_are_told(before: list[str], after: list[str], words: str) -> None:
    one, other = pipeline(labels=before), pipeline(labels=after)
    assert differences(one, other, ready("int8 [1, 2]"), ready("int8 [1, 3]")) == words


def test_without_labels_the_shapes_of_outputs_count_and_not_their_types() -> None:
    one, before = pipeline(), ready("int8 [1, 2]")
    assert differences(one, one, before, ready("float32 [1, 2]")) == ""
    assert differences(one, one, None, ready("int8 [1, 3]")) == ""
    found = differences(one, one, before, ready("int8 [1, 3]"))
    assert found == "it has other outputs: int8 [1, 3], not int8 [1, 2]"


def test_only_what_an_update_replaces_is_in_the_yamls_digest() -> None:
    written = pipeline()
    assert written_digest(written) == written_digest(
        written.model_copy(update={"deadline_ms": 5.0})
    )
    assert written_digest(written) != written_digest(pipeline(threads=2))
    assert written_digest(written) != written_digest(pipeline({"top_k": 2}))


def test_a_model_with_two_builds_cannot_be_updated() -> None:
    two = pipeline(accelerator="edgetpu", cpu_path="/yaml/cpu.tflite")
    assert "second build" in cannot_be_updated(two)
    assert cannot_be_updated(pipeline()) == ""
