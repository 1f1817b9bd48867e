"""`edge bench` as its user calls it: real probes, real engines, real models."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from commands import edge
from hand_made_model import hand_made

from edge.engines.choose import choose, installed
from edge.engines.noise import random_tensor
from edge.errors import ModelError
from edge.lab.bench import Plan, measure
from edge.lab.probe_wire import Slice
from edge.lab.subject import CONTROL, Probe, Subject, combine
from edge.latency.hdr_codec import decode
from edge.tensors import TensorSpec

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
SHORT = Slice(warm_up_ns=0, warm_up_invokes=2, measure_ns=1_000_000, period_ns=0)
BRIEF = ("--seconds", "0.2", "--threads", "1")


def subject(model: Path = DIGITS, engine: str = "litert", **more: Any) -> Subject:
    if engine == "tflite-runtime" and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    return Subject(model, engine, choose(engine).version, more.pop("threads", 1), **more)


@pytest.fixture
def probe() -> Iterator[Probe]:
    """A probe of the digits."""
    made = Probe(subject())
    yield made
    made.close()


# Probes.


@pytest.mark.parametrize("engine", ["litert", "tflite-runtime"])
def test_a_probe_times_every_invoke_of_its_slices(engine: str) -> None:
    probe = Probe(subject(engine=engine, threads=2))
    try:
        assert probe.loaded.inputs == ["int8 [1, 8, 8, 1]"]
        assert probe.loaded.outputs == ["int8 [1, 10]"]
        assert probe.loaded.init_ms > 0
        assert probe.loaded.first_invoke_ms > 0
        assert probe.rss_bytes > 10_000_000
        for _ in range(2):
            samples_ns, ended = probe.measure(SHORT)
            assert ended.warm_up_invokes == 2
            assert samples_ns.dtype == np.int64
            assert np.min(samples_ns) > 0
            assert ended.elapsed_ns >= 1_000_000
            assert samples_ns.sum() <= ended.elapsed_ns
    finally:
        probe.close()


def test_a_long_slice_arrives_whole(probe: Probe) -> None:
    """More samples than one packet can carry."""
    samples_ns, ended = probe.measure(SHORT._replace(measure_ns=400_000_000))
    assert samples_ns.size > 0
    # What is not in an invoke is the loop's own, and is little.
    assert samples_ns.sum() <= ended.elapsed_ns
    warm_up_ns, _ = probe.measure(SHORT)
    assert warm_up_ns.size < samples_ns.size


def test_a_paced_slice_keeps_its_pace(probe: Probe) -> None:
    order = Slice(warm_up_ns=0, warm_up_invokes=1, measure_ns=100_000_000, period_ns=20_000_000)
    samples_ns, ended = probe.measure(order)
    assert 1 <= samples_ns.size <= 6, "never faster than asked for"
    assert ended.elapsed_ns >= samples_ns.size * 20_000_000


def test_a_probe_that_dies_is_told_with_its_last_words(probe: Probe) -> None:
    os.kill(probe.pid, signal.SIGSEGV)
    with pytest.raises(ModelError) as caught:
        probe.measure(SHORT)
    told = str(caught.value)
    assert told.startswith(f"{DIGITS}: the process that ran it ended: killed by SIGSEGV")
    assert "Fatal Python error: Segmentation fault" in told


def test_the_others_go_on_when_one_dies() -> None:
    subjects = [CONTROL, *combine([DIGITS], [choose("litert")], [1, 2], [None])]
    killed: list[int] = []

    def kill_the_last() -> None:
        if not killed:
            killed.append(probes()[-1])
            os.kill(killed[0], signal.SIGKILL)

    runs, failures = measure(subjects, Plan(seconds=0.2), kill_the_last)
    assert [run.subject for run in runs] == subjects[:2]
    assert all(len(run.slices_ns) >= 10 for run in runs)
    (failure,) = failures
    assert failure.subject == subjects[2]
    assert "killed by SIGKILL" in str(failure.error)


def probes() -> list[int]:
    """Return the process ids of this process's probes, oldest first."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(each) for each in children if b"lab.probe" in cmdline(each)]


def cmdline(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_model_with_several_inputs_is_measured(testdata: Path) -> None:
    probe = Probe(subject(testdata / "models/traffic_model.tflite"))
    try:
        assert len(probe.loaded.inputs) == 3
        assert probe.measure(SHORT)[0].size >= 1
    finally:
        probe.close()


def test_a_picture_that_may_have_any_size_is_resized(testdata: Path) -> None:
    probe = Probe(subject(testdata / "models/fomo_face_96.tflite", input_size=(128, 64)))
    try:
        assert probe.loaded.inputs == ["int8 [1, 64, 128, 3]"]
        assert probe.loaded.outputs == ["int8 [1, 8, 16, 2]"]
    finally:
        probe.close()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("mobilenet_v1_0.25_128_quant", "cannot be made 64x64: litert says: "),
        (
            "pretrainedResnet_quant",
            "cannot be made 64x64: it would take the picture for 4 pictures",
        ),
        ("ad01_int8", "cannot be made 64x64: it takes no picture"),
    ],
)
def test_a_picture_that_cannot_be_resized_is_told(model: str, told: str, testdata: Path) -> None:
    with pytest.raises(ModelError, match=told):
        Probe(subject(testdata / f"models/{model}.tflite", input_size=(64, 64)))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int16", -32768, 32767),
        ("int32", 0, 1),
        ("int64", 0, 1),
        ("bool", 0, 1),
        ("float32", 0, 1),
        ("float16", 0, 1),
    ],
)
def test_inputs_are_filled_with_noise_of_their_type(dtype: str, low: int, high: int) -> None:
    tensor = random_tensor(TensorSpec("x", (50, 40), dtype), np.random.default_rng(1))
    assert (tensor.shape, tensor.dtype) == ((50, 40), np.dtype(dtype))
    assert low <= tensor.min() < tensor.max() <= high
    assert np.ptp(tensor.astype(np.float64)) > 0.9 * (high - low)


def test_an_input_that_cannot_be_filled_is_told() -> None:
    with pytest.raises(ModelError, match="the input text is of type"):
        random_tensor(TensorSpec("text", (1,), "bytes_"), np.random.default_rng(1))


# The command.


def test_json_has_every_engine_and_thread_count(tmp_path: Path) -> None:
    saved, drawn = tmp_path / "saved.json", tmp_path / "curves.svg"
    arguments = ("--seconds", "0.2", "--threads", "2,1", "--json", "--save", saved, "--plot", drawn)
    done = edge("bench", DIGITS, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(saved.read_text(encoding="utf-8"))
    assert found["models"][0]["macs"] > 0
    assert found["machine"]["cores"] >= 1
    assert found["rate_hz"] is None
    wanted = [(engine, threads) for engine in installed() for threads in (1, 2)]
    assert [(each["engine"], each["threads"]) for each in found["subjects"]] == wanted
    for each in found["subjects"]:
        latency = each["latency_ms"]
        histogram = decode(each["hdr_ns"])
        assert histogram.count == latency["count"]
        assert histogram.percentile(50) / 1e6 == pytest.approx(latency["p50"], abs=1e-6)
        assert latency["p50"] <= latency["p90"] <= latency["max"]
        assert each["throughput_hz"] * latency["mean"] <= 1000 * 1.01
    lines = list(ET.parse(drawn).getroot().iter("{http://www.w3.org/2000/svg}polyline"))  # noqa: S314
    assert len(lines) == len(wanted)


def test_markdown_is_one_well_formed_table() -> None:
    done = edge("bench", DIGITS, *BRIEF, "--markdown", "--rate", "200")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(installed())
    assert len({row.count("|") for row in rows}) == 1
    assert set(rows[1]) <= set("|-: ")
    assert "paced: 200 invokes a second" in done.stdout


def test_what_was_saved_is_compared_with(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    assert edge("bench", DIGITS, *BRIEF, "--engine", "litert", "--save", saved).returncode == 0
    done = edge("bench", DIGITS, *BRIEF, "--against", saved, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["against"]
    assert [each["engine"] for each in found["changes"]] == ["litert"]
    assert found["changes"][0]["ratio"] > 0
    assert found["control"] > 0
    told = edge("bench", DIGITS, *BRIEF, "--against", saved).stdout
    assert "now / then" in told
    assert "as fast as possible" in told
    other = edge("bench", DIGITS, *BRIEF, "--against", saved, "--rate", "100")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)


def test_models_are_ranked_by_speed_and_accuracy(testdata: Path, tmp_path: Path) -> None:
    sheet = cv2.imread(str(ROOT / "models/digits/held-out.png"))
    assert sheet is not None
    truths = (ROOT / "models/digits/held-out.txt").read_text(encoding="utf-8").split()
    for number, truth in enumerate(truths[:20]):
        row, column = divmod(number, sheet.shape[1] // 8)
        tile = sheet[row * 8 :, column * 8 :][:8, :8]
        cv2.imwrite(str(tmp_path / f"{truth}_{number}.png"), tile)
    (tmp_path / "3_broken.png").write_text("no picture", encoding="utf-8")
    resnet = testdata / "models/pretrainedResnet_quant.tflite"  # ten classes too, of other things
    arguments = ("--seconds", "0.2", "--images", tmp_path, "--truth", "name", "--json")
    done = edge("bench", "--compare", resnet, DIGITS, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    accuracy = {each["file"]: each["accuracy"] for each in found["models"]}
    assert accuracy["digits.tflite"]["pictures"] == 20
    assert accuracy["digits.tflite"]["unreadable"] == 1
    assert "1 of the pictures could not be read" in done.stderr
    assert accuracy["digits.tflite"]["right"] >= 18
    assert accuracy[resnet.name]["right"] < 10
    ranks = [(each["model"], each["pareto"]) for each in found["ranking"]["ranks"]]
    assert ranks == [("digits.tflite", True), (resnet.name, False)]
    text = edge("bench", "--compare", resnet, DIGITS, "--seconds", "0.1").stdout
    assert "MMACs" in text
    assert "costs only" in text


def test_a_truth_that_is_no_label_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "seven_1.png"), np.zeros((8, 8), np.uint8))
    labels = ROOT / "models/digits/labels.txt"
    arguments = ("--compare", DIGITS, "--images", tmp_path, "--truth", "name")
    done = edge("bench", *arguments, "--labels", labels)
    assert done.returncode == 2
    assert f"'seven', is not in {labels}" in done.stderr
    done = edge("bench", *arguments)
    assert done.returncode == 2
    assert "'seven', is no class's index" in done.stderr


def test_a_model_that_cannot_be_resized_says_so_once() -> None:
    done = edge("bench", DIGITS, *BRIEF, "--input-size", "16,24x32")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "its input cannot be made 16x16" in done.stderr
    assert "(nor 24x32)" in done.stderr


def test_sizes_that_work_are_measured_and_the_others_told(testdata: Path) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    done = edge("bench", model, *BRIEF, "--engine", "litert", "--input-size", "64,160", "--json")
    assert done.returncode == 0
    assert [each["input_size"] for each in json.loads(done.stdout)["subjects"]] == [[160, 160]]
    assert "cannot be made 64x64" in done.stderr


def test_batches_are_measured_beside_single_frames(testdata: Path, tmp_path: Path) -> None:
    model, saved = testdata / "models/vww_96_int8.tflite", tmp_path / "saved.json"
    arguments = (*BRIEF, "--engine", "litert", "--batch", "3,1")
    done = edge("bench", model, *arguments, "--json", "--save", saved)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    single, batch = found["subjects"]
    assert (single["batch"], single["inputs"]) == (1, ["int8 [1, 96, 96, 3]"])
    assert (batch["batch"], batch["inputs"]) == (3, ["int8 [3, 96, 96, 3]"])
    assert batch["outputs"] == ["int8 [3, 2]"]
    for each in (single, batch):
        passes_hz = each["throughput_hz"] / each["batch"]
        assert 0 < passes_hz * each["latency_ms"]["mean"] <= 1000 * 1.01
    (share,) = found["batch_shares"]
    assert share["batch"] == 3
    assert share["now_p50_ms"] < batch["latency_ms"]["max"]
    text = edge("bench", model, *arguments, "--against", saved)
    assert text.returncode == 0, text.stderr
    assert "time a frame, P50 / batch, against one at a time" in text.stdout
    changes = text.stdout.partition("now / then, P50, against")[2].splitlines()
    assert [line.split()[2] for line in changes if line.startswith("litert")] == ["1", "3"]


def test_a_model_that_cannot_be_batched_is_measured_alone_and_says_why(testdata: Path) -> None:
    model = testdata / "models" / "mobilenet_v1_0.25_128_quant.tflite"
    done = edge("bench", model, *BRIEF, "--engine", "litert", "--batch", "1,2,4", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [each["batch"] for each in found["subjects"]] == [1]
    assert [each["batch"] for each in found["failures"]] == [2, 4]
    assert "batch_shares" not in found
    assert done.stderr.count("\n") == 1
    assert "litert (1 thread, batch 2), litert (1 thread, batch 4): " in done.stderr
    assert "cannot run several frames in one forward pass: its graph" in done.stderr
    alone = edge("bench", model, *BRIEF, "--engine", "litert", "--batch", "4")
    assert (alone.returncode, alone.stdout) == (1, "")


def test_a_model_that_no_engine_runs_fails_with_the_reason(tmp_path: Path) -> None:
    model = tmp_path / "newer.tflite"
    model.write_bytes(hand_made(old_code=127, new_code=999))
    done = edge("bench", model, *BRIEF)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "uses builtin operator number 999" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 2, "name a model"),
        (["absent.tflite"], 2, "absent.tflite: there is no such model file"),
        (["text.tflite"], 1, "text.tflite: is a text file"),
        ([DIGITS, DIGITS], 2, "rank several with --compare"),
        (["--compare", DIGITS, DIGITS], 2, "the same file"),
        ([DIGITS, "--threads", "0"], 2, "--threads: '0'"),
        ([DIGITS, "--threads", "1,two"], 2, "--threads: 'two'"),
        ([DIGITS, "--threads", ""], 2, "--threads: ''"),
        ([DIGITS, "--threads", "65"], 2, "from 1 to 64"),
        ([DIGITS, "--engine", "tensorrt"], 2, "--engine: 'tensorrt'"),
        ([DIGITS, "--batch", "0"], 2, "--batch: '0'"),
        ([DIGITS, "--batch", "1,257"], 2, "from 1 to 256"),
        ([DIGITS, "--batch", "2", "--input-size", "96"], 2, "does not go with --input-size"),
        (["--compare", DIGITS, "--batch", "2"], 2, "--batch does not go with --compare"),
        (["--pipeline", DIGITS, "--batch", "2"], 2, "--batch does not go with --pipeline"),
        ([DIGITS, "--input-size", "96x"], 2, "--input-size: ''"),
        ([DIGITS, "--seconds", "0"], 2, "--seconds must be"),
        ([DIGITS, "--seconds", "nan"], 2, "--seconds must be"),
        ([DIGITS, "--rate", "-1"], 2, "--rate must be"),
        ([DIGITS, "--plot", "nowhere/a.svg"], 2, "there is no folder"),
        ([DIGITS, "--save", "."], 2, "is a folder"),
        ([DIGITS, "--against", "text.tflite"], 2, "is no bench saved with --save"),
        ([DIGITS, "--images", "."], 2, "--images goes with --compare"),
        (["--compare", DIGITS, "--labels", "x.txt"], 2, "--labels goes with --images"),
        (["--compare", DIGITS, "--images", "nowhere"], 2, "nowhere: no such file or folder"),
    ],
)
def test_wrong_use_is_one_clear_line(
    arguments: list[str | Path], status: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "text.tflite").write_text("no model\n" * 20, encoding="utf-8")
    done = edge("bench", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert done.stdout == ""
    assert told in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
