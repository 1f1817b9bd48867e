"""The answers that nobody here made, through the commands and over a real broker."""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import edge
from parties import Daemon, Listener, Mosquitto
from topics import Topics

from edge.asyncapi import document

ENGINES = [
    "litert",
    pytest.param(
        "tflite-runtime",
        marks=pytest.mark.skipif(
            sys.version_info >= (3, 12),
            reason="tflite-runtime has no wheel for Python 3.12 and newer",
        ),
    ),
]


@pytest.fixture(scope="module")
def expected(testdata: Path) -> dict[str, Any]:
    """The answers and their tolerance."""
    found: dict[str, Any] = json.loads((testdata / "expected.json").read_text(encoding="utf-8"))
    return found


def check(predictions: list[dict[str, Any]], case: dict[str, Any], tolerance: float) -> None:
    """Compare the best prediction with the right answer."""
    index, label, score = case["top"]
    best = predictions[0]
    assert (best["index"], best["label"]) == (index, label), case
    assert best["score"] == pytest.approx(score, abs=tolerance), case


def labels_of(case: dict[str, Any], testdata: Path) -> Any:
    """Return a case's labels: a list, or the path of their file."""
    labels = case["labels"]
    return labels if isinstance(labels, list) else str(testdata / "labels" / labels)


@pytest.mark.parametrize("engine", ENGINES)
def test_infer_gives_every_right_answer(
    engine: str, expected: dict[str, Any], testdata: Path, tmp_path: Path
) -> None:
    for number, case in enumerate(expected["classification"]):
        labels = labels_of(case, testdata)
        if isinstance(labels, list):
            file = tmp_path / f"{number}.txt"
            file.write_text("\n".join(labels), encoding="utf-8")
            labels = file
        done = edge(
            "infer",
            testdata / "models" / case["model"],
            testdata / "images" / case["image"],
            *("--labels", labels, "--json", "--engine", engine),
        )
        assert done.returncode == 0, done.stderr
        check(json.loads(done.stdout)["predictions"], case, expected["score_tolerance"])


@pytest.mark.parametrize("engine", ENGINES)
def test_run_gives_every_right_answer_over_mqtt(
    engine: str,
    expected: dict[str, Any],
    testdata: Path,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
) -> None:
    cases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in expected["classification"]:
        cases[case["model"]].append(case)
    pipelines = {
        f"p{number}": {
            "source": {
                "type": "images",
                "path": [str(testdata / "images" / case["image"]) for case in of_model],
            },
            "model": {
                "path": str(testdata / "models" / model),
                "labels": labels_of(of_model[0], testdata),
                "engine": engine,
            },
            "deadline_ms": 60_000,
        }
        for number, (model, of_model) in enumerate(cases.items())
    }
    config = {"device": "right", "mqtt": {"broker": broker.url}, "pipelines": pipelines}
    daemon = start(json.dumps(config))
    assert daemon.wait() == 0, daemon.log
    for number, of_model in enumerate(cases.values()):
        results = listener.wait_for_many(f"p{number}/predictions", len(of_model))
        for result, case in zip(results, of_model, strict=True):
            assert result["file"].endswith(case["image"])
            check(result["predictions"], case, expected["score_tolerance"])


def check_places(predictions: list[dict[str, Any]], case: dict[str, Any]) -> None:
    """Compare what was found with the right cells of a grid of 12 x 12: all of one object."""
    cells = case["cells"]
    assert sum(each["cells"] for each in predictions) == len(cells), case
    for each in predictions:
        rows, columns = zip(*cells, strict=True)
        assert min(rows) / 12 <= each["y"] <= (max(rows) + 1) / 12, case
        assert min(columns) / 12 <= each["x"] <= (max(columns) + 1) / 12, case
        assert each["score"] >= case["threshold"]
        assert each["label"] == "face"


@pytest.mark.parametrize("engine", ENGINES)
def test_infer_finds_every_object_where_it_is(
    engine: str, expected: dict[str, Any], testdata: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("face\n", encoding="utf-8")
    for case in expected["centroids"]:
        done = edge(
            "infer",
            testdata / "models" / case["model"],
            testdata / "images" / case["image"],
            *("--labels", tmp_path / "labels.txt", "--decode", "centroids", "--json"),
            *("--threshold", str(case["threshold"]), "--engine", engine),
        )
        assert done.returncode == 0, done.stderr
        check_places(json.loads(done.stdout)["predictions"], case)


def test_infer_prints_where_an_object_is_and_where_there_is_none(
    expected: dict[str, Any], testdata: Path
) -> None:
    for case in expected["centroids"]:
        model = testdata / "models" / case["model"]
        image = testdata / "images" / case["image"]
        done = edge("infer", model, image, "--decode", "centroids")
        assert done.returncode == 0, done.stderr
        if case["cells"]:
            assert re.fullmatch(r" +0\.\d{4} +1  1  at \d+, \d+\n", done.stdout)
        else:
            assert done.stdout == "   no score reaches the threshold\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_run_finds_every_object_over_mqtt(
    engine: str,
    expected: dict[str, Any],
    testdata: Path,
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
) -> None:
    cases = expected["centroids"]
    pipeline = {
        "source": {
            "type": "images",
            "path": [str(testdata / "images" / case["image"]) for case in cases],
        },
        "model": {
            "path": str(testdata / "models" / cases[0]["model"]),
            "labels": ["face"],
            "engine": engine,
        },
        "decode": {"type": "centroids", "threshold": cases[0]["threshold"]},
        "deadline_ms": 60_000,
    }
    config = {"device": "right", "mqtt": {"broker": broker.url}, "pipelines": {"faces": pipeline}}
    daemon = start(json.dumps(config))
    assert daemon.wait() == 0, daemon.log
    topics = Topics(document())
    results = listener.wait_for_many("faces/predictions", len(cases))
    for result, case in zip(results, cases, strict=True):
        assert result["file"].endswith(case["image"])
        check_places(result["predictions"], case)
        assert topics.errors("edge/right/faces/predictions", result) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_models_that_must_fail_end_in_one_clear_sentence(
    engine: str, expected: dict[str, Any], testdata: Path
) -> None:
    told = {
        "mobilenet_v1_0.25_128_quant_edgetpu.tflite": ("Edge TPU", "use the model's CPU build"),
        "model_invoking_error.tflite": ("'fake-op-double'", "no TensorFlow Lite runtime knows"),
    }
    for case in expected["must_fail"]:
        model = testdata / "models" / case["model"]
        done = edge("infer", model, testdata / "images" / "cat_720p.jpg", "--engine", engine)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert all(words in done.stderr for words in told[case["model"]]), done.stderr
