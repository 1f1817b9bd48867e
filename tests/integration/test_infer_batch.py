"""`edge infer --batch`: the answers of one by one, whatever shares a forward pass."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import edge

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
SIDE, COUNT = 8, 45
BOTH = pytest.mark.parametrize(
    "engine",
    [
        "litert",
        pytest.param(
            "tflite-runtime",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 12),
                reason="tflite-runtime has no wheel for Python 3.12 and newer",
            ),
        ),
    ],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first held-out digits, a file each: NUMBER_TRUTH.png."""
    made = tmp_path_factory.mktemp("digits")
    sheet = cv2.imread(str(ROOT / "models/digits/held-out.png"))
    assert sheet is not None
    columns = sheet.shape[1] // SIDE
    truths = (ROOT / "models/digits/held-out.txt").read_text(encoding="utf-8").split()
    for number, truth in enumerate(truths[:COUNT]):
        row, column = divmod(number, columns)
        tile = sheet[row * SIDE :, column * SIDE :][:SIDE, :SIDE]
        cv2.imwrite(str(made / f"{number:02}_{truth}.png"), tile)
    return made


def told(*arguments: str | Path, status: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
    """Run `edge infer ... --json`; return its objects and the lines on standard error."""
    done = edge("infer", *arguments, "--json")
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()


def but_time(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines without what may differ: times, and how many shared a forward pass."""
    return [{k: v for k, v in line.items() if k not in ("inference_ms", "batch")} for line in lines]


@BOTH
def test_batches_answer_as_one_by_one_and_in_order(engine: str, folder: Path) -> None:
    single, _ = told(DIGITS, folder, "--engine", engine)
    assert {line["batch"] for line in single} == {1}
    found, said = told(DIGITS, folder, "--engine", engine, "--batch", "8")
    assert not said
    assert but_time(found) == but_time(single)
    names = [Path(line["input"]).stem for line in found]
    assert names == sorted(names)
    assert len(names) == COUNT
    right = sum(n.endswith(f["predictions"][0]["label"]) for n, f in zip(names, found, strict=True))
    assert right >= COUNT - 2
    # The last batch is what is left over; all of a batch have the time of their one pass.
    assert [line["batch"] for line in found] == [8] * 40 + [5] * 5
    passes = [found[first : first + 8] for first in range(0, COUNT, 8)]
    assert all(len({line["inference_ms"] for line in each}) == 1 for each in passes)


def test_without_json_a_batch_is_printed_as_one_by_one(folder: Path) -> None:
    arguments = ("infer", DIGITS, folder, "--top-k", "1")
    single, batch = edge(*arguments), edge(*arguments, "--batch", "32")
    assert (batch.returncode, batch.stderr) == (0, "")
    assert batch.stdout == single.stdout
    assert batch.stdout.count("\n") == 2 * COUNT


@pytest.mark.parametrize("bad", [(0,), (44,), (3, 4, 19, 20, 40), tuple(range(45))])
def test_files_that_fail_in_between_are_told_in_their_place(
    bad: tuple[int, ...], folder: Path, tmp_path: Path
) -> None:
    files = sorted(folder.iterdir())
    for number in bad:
        files[number] = tmp_path / f"bad{number}.png"
        files[number].write_text("no picture", encoding="utf-8")
    found, said = told(DIGITS, *files, "--batch", "8", status=1)
    assert [line["input"] for line in found] == [str(file) for file in files]
    assert [number for number, line in enumerate(found) if "error" in line] == list(bad)
    assert [line.split(": ")[1] for line in said] == [str(files[number]) for number in bad]
    full, left = divmod(COUNT - len(bad), 8)
    batches = [line["batch"] for line in found if "error" not in line]
    assert batches == [8] * 8 * full + [left] * left


@BOTH
def test_arrays_are_batched_too(engine: str, testdata: Path, tmp_path: Path) -> None:
    """Of dense layers, and with `--decode raw`."""
    generator = np.random.default_rng(1)
    for number in range(10):
        array = generator.integers(-128, 128, (1, 640)).astype(np.int8)
        np.save(tmp_path / f"{number}.npy", array)
    arguments = (testdata / "models/ad01_int8.tflite", tmp_path, "--decode", "raw")
    single, _ = told(*arguments, "--engine", engine)
    found, _ = told(*arguments, "--engine", engine, "--batch", "4")
    assert [line["batch"] for line in found] == [4] * 8 + [2] * 2
    for one, other in zip(found, single, strict=True):
        assert one["input"] == other["input"]
        values, wanted = (np.array(each["predictions"][0]["values"]) for each in (one, other))
        assert values.shape == (640,)
        assert np.abs(values - wanted).max() <= 0.5  # a step of its output is 0.36


def test_a_model_that_cannot_be_batched_says_so_once_and_runs_one_at_a_time(
    testdata: Path, folder: Path
) -> None:
    model = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    files = sorted(folder.iterdir())[:20]
    single, quiet = told(model, *files)
    assert not quiet
    found, said = told(model, *files, "--batch", "8")
    assert but_time(found) == but_time(single)
    assert {line["batch"] for line in found} == {1}
    (line,) = said
    assert line.startswith("edge infer: `batch` was not granted, frames are run one at a time: ")
    assert f"{model}: cannot run several frames in one forward pass: " in line


@pytest.mark.parametrize("size", ["0", "65", "-1"])
def test_a_batch_of_no_sensible_size_is_wrong_usage(size: str, folder: Path) -> None:
    done = edge("infer", DIGITS, folder, "--batch", size)
    assert done.returncode == 2
    assert "--batch" in done.stderr
    assert done.stderr.count("\n") == 1
