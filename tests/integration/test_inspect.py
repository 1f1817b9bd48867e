"""`edge inspect`, and `--load` with real engines and with models that no engine takes."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import edge

from edge.errors import ConfigError, ModelError
from edge.supervisor.trial import ask

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
ENGINES = ["litert", "tflite-runtime"]


def needs(engine: str) -> None:
    if engine == "tflite-runtime" and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")


def loaded(model: Path, *arguments: str) -> dict[str, Any]:
    done = edge("inspect", model, "--load", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_file_alone_gives_macs_by_operator() -> None:
    done = edge("inspect", DIGITS)
    (macs,) = [line for line in done.stdout.splitlines() if line.startswith("MACs: ")]
    assert macs.split(maxsplit=1)[1] == (
        "601.6 k: CONV_2D 599.0 k (99.6 %), FULLY_CONNECTED 2.6 k (0.4 %)"
    )
    assert "engine:" not in done.stdout
    found = json.loads(edge("inspect", DIGITS, "--json").stdout)
    assert found["macs"] == sum(found["macs_by_operator"].values()) == 601_600
    assert "loaded" not in found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "traffic_model", "okay_nabu"])
def test_a_loaded_model_shows_what_is_delegated_and_what_memory_it_adds(
    testdata: Path, engine: str, name: str
) -> None:
    needs(engine)
    model = testdata / "models" / f"{name}.tflite"
    found = loaded(model, "--engine", engine)
    told = found["loaded"]
    assert told["engine"] == engine
    assert told["init_ms"] > 0
    assert told["first_invoke_ms"] > 0
    places = [told["delegation"][place] for place in ("taken", "left", "untold")]
    total: dict[str, int] = {}
    for place in places:
        for operator, count in place.items():
            total[operator] = total.get(operator, 0) + count
    if found["subgraphs"] == 1:
        assert total == found["operators"]
    assert (told["delegation"]["groups"] > 0) == bool(told["delegation"]["taken"])
    added = told["memory_added"]
    assert list(added) == ["opened", "allocated", "invoked"]
    for memory in added.values():
        parts = [memory[f"{part}_bytes"] for part in ("model_file", "anonymous", "other")]
        assert sum(parts) == memory["total_bytes"]
    # Running it, if not loading it, has read every weight.
    assert added["invoked"]["model_file_bytes"] >= found["parameters_bytes"] // 2
    assert added["invoked"]["anonymous_bytes"] > 0


def test_xnnpack_takes_the_convolutions_in_litert(testdata: Path) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    told = loaded(model, "--engine", "litert")["loaded"]
    assert told["delegate"] == "XNNPACK"
    assert told["delegation"]["taken"]["CONV_2D"] == 15
    text = edge("inspect", model, "--load", "--engine", "litert", "--threads", "2").stdout
    assert "delegate:     XNNPACK takes " in text
    assert "left behind:  " in text
    assert "memory added: " in text
    assert ", 2 threads\n" in text


def test_tflite_runtime_runs_an_int8_model_by_its_own_kernels() -> None:
    needs("tflite-runtime")
    text = edge("inspect", DIGITS, "--load", "--engine", "tflite-runtime").stdout
    assert "the engine's own kernels run all 8 operators" in text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at", [0, 1])
def test_a_model_that_no_engine_takes_is_one_clear_line(
    testdata: Path, engine: str, at: int
) -> None:
    needs(engine)
    expected = json.loads((testdata / "expected.json").read_text(encoding="utf-8"))
    model = testdata / "models" / expected["must_fail"][at]["model"]
    read = edge("inspect", model)
    assert read.returncode == 0
    assert "MACs:         0; not counted: " in read.stdout
    done = edge("inspect", model, "--load", "--engine", engine, "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"edge inspect: {model}: ")
    assert ("compiled for the Edge TPU", "no TensorFlow Lite runtime knows")[at] in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--engine", "litert"], "add --load"),
        (["--threads", "2"], "add --load"),
        (["--load", "--threads", "0"], "--threads must be from 1 to 64, not 0"),
        (["--load", "--engine", "onnx"], "invalid choice"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], told: str) -> None:
    done = edge("inspect", DIGITS, *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_process_that_dies_of_a_model_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, signal, sys\n"
        "def main():\n"
        "    print('about to die', file=sys.stderr, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError) as caught:
        ask("deadly", DIGITS)
    assert str(caught.value) == (
        f"{DIGITS}: the process that ran it ended: killed by {signal.SIGSEGV.name}; "
        "its last words: about to die"
    )


def test_an_error_of_the_process_comes_back_as_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text(
        "import json, sys\n"
        "def main():\n"
        "    print(json.dumps({'failed': 'ConfigError', 'message': sys.argv[1]}))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"^{os.fspath(DIGITS)}$"):
        ask("failing", DIGITS)
