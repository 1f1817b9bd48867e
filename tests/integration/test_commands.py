"""The commands as their users call them, with good input and with bad."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import edge

from edge import __version__

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
LABELS = ROOT / "models/digits/labels.txt"


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A picture of one digit, the sheet's first."""
    sheet = cv2.imread(str(ROOT / "models/digits/held-out.png"))
    assert sheet is not None
    path = tmp_path / "digit.png"
    cv2.imwrite(str(path), sheet[:8, :8])
    return path


def broken_models(folder: Path) -> dict[str, Path]:
    """Everything that is called a model and is none."""
    whole = DIGITS.read_bytes()
    contents: dict[str, bytes] = {
        "empty": b"",
        "text": b"this is no model\n" * 100,
        "random": np.random.default_rng(1).bytes(5000),
        "half": whole[: len(whole) // 2],
        "head": whole[:100],
        "all-but-one": whole[:-1],
    }
    made = {}
    for name, content in contents.items():
        made[name] = folder / f"{name}.tflite"
        made[name].write_bytes(content)
    made["folder"] = folder / "folder.tflite"
    made["folder"].mkdir()
    made["absent"] = folder / "absent.tflite"
    return made


def device(model: Path, *, labels: str = "null", source: str = "{type: synthetic}") -> str:
    """Return the YAML of a device with one pipeline."""
    return (
        "device: dev\npipelines:\n  one:\n"
        f"    source: {source}\n    model: {{path: {model}, labels: {labels}}}\n"
    )


KINDS = ["empty", "text", "random", "half", "head", "all-but-one", "folder", "absent"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_model_is_one_clear_line_from_every_command(
    kind: str, digit: Path, tmp_path: Path
) -> None:
    model = broken_models(tmp_path)[kind]
    config = tmp_path / "device.yaml"
    config.write_text(device(model), encoding="utf-8")
    infer = edge("infer", model, digit)
    inspect = edge("inspect", model)
    check = edge("check", config)
    assert check.returncode == 2
    assert infer.returncode == (2 if kind == "absent" else 1)
    assert inspect.returncode == infer.returncode
    for done in (infer, inspect, check):
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert str(model) in done.stderr


def test_infer_prints_the_digit(digit: Path) -> None:
    done = edge("infer", DIGITS, digit, "--labels", LABELS, "--top-k", "1")
    assert done.returncode == 0
    truth = (ROOT / "models/digits/held-out.txt").read_text(encoding="utf-8").split()[0]
    assert done.stdout.split()[-1] == truth


def test_infer_takes_folders_arrays_and_raw_tensors(digit: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    pixels = cv2.imread(str(digit), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    tensor = (pixels.astype(np.int16) - 128).astype(np.int8)[..., None]
    digit.rename(folder / "a.png")
    np.save(folder / "b.npy", tensor[None])
    (folder / "c.bin").write_bytes(tensor.tobytes())
    done = edge("infer", DIGITS, folder, "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["input"]).name for line in lines] == ["a.png", "b.npy", "c.bin"]
    assert lines[0]["predictions"] == lines[1]["predictions"] == lines[2]["predictions"]


def test_a_bad_input_is_told_and_the_others_are_still_answered(digit: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.png").touch()
    (bad / "text.jpg").write_text("no picture", encoding="utf-8")
    (bad / "short.bin").write_bytes(b"123")
    (bad / "empty.bin").touch()
    np.save(bad / "shape.npy", np.zeros((3, 3), np.int8))
    done = edge("infer", DIGITS, digit, bad, digit, "--json")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = {Path(line["input"]).name: line["error"] for line in lines if "error" in line}
    assert sorted(told) == ["empty.bin", "empty.png", "shape.npy", "short.bin", "text.jpg"]
    assert "0 bytes" in told["empty.png"]
    assert "3 bytes, the model takes 64" in told["short.bin"]
    assert sum("predictions" in line for line in lines) == 2
    assert done.stderr.count("\n") == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--labels", "nine.txt"], "9 labels for 10 classes"),
        (["--labels", "absent.txt"], "absent.txt: the labels cannot be read"),
        (["--labels", "empty.txt"], "empty.txt: holds no labels"),
        (["--top-k", "0"], "--top-k"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_wrong_options_of_infer_are_one_clear_line(
    arguments: list[str], told: str, digit: Path, tmp_path: Path
) -> None:
    (tmp_path / "nine.txt").write_text("\n".join("123456789"), encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    done = edge("infer", DIGITS, digit, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_full_disk_is_one_clear_line(option: list[str], digit: Path) -> None:
    command = [sys.executable, "-m", "edge", "infer", str(DIGITS), str(digit), *option]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "edge infer: No space left on device\n"


def test_no_such_input_is_wrong_usage(tmp_path: Path) -> None:
    done = edge("infer", DIGITS, tmp_path / "nothing-*.png")
    assert done.returncode == 2
    assert "matches nothing" in done.stderr


def test_check_says_what_would_run() -> None:
    done = edge("check", ROOT / "device_configs/demo.yaml")
    assert done.returncode == 0, done.stderr
    assert "int8 [1, 8, 8, 1] -> int8 [1, 10]" in done.stdout


def test_check_finds_what_the_fields_alone_do_not_tell(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    config.write_text(
        f"""device: dev
pipelines:
  labels: {{source: {{type: synthetic}}, model: {{path: {DIGITS}, labels: [a, b]}}}}
  source: {{source: {{type: images, path: nowhere}}, model: {{path: {DIGITS}}}}}
  colour: {{source: {{type: synthetic}}, model: {{path: {DIGITS}, colour: rgb}}}}
  video: {{source: {{type: video, path: nothing.mp4}}, model: {{path: {DIGITS}}}}}
""",
        encoding="utf-8",
    )
    done = edge("check", config)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "edge check: 4 problems"
    assert [line.removeprefix(f"{config}:").split(": ")[:2] for line in lines[1:]] == [
        ["3", "pipelines.labels.decode"],
        ["4", "pipelines.source.source"],
        ["5", "pipelines.colour.model.path"],
        ["6", "pipelines.video.source"],
    ]
    assert "2 labels for 10 classes" in lines[1]


def test_run_refuses_a_wrong_configuration_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    config.write_text("device: dev\npipelines: {one: {sourc: 1}}\n", encoding="utf-8")
    done = edge("run", config)
    assert done.returncode == 2
    assert "did you mean `source`" in done.stderr
    for arguments in (["--broker", "http://x"], ["--max-frames", "0"], ["--max-seconds", "-1"]):
        done = edge("run", ROOT / "device_configs/demo.yaml", *arguments)
        assert done.returncode == 2
        assert arguments[0] in done.stderr


def test_inspect_tells_the_same_to_people_and_programs() -> None:
    found: dict[str, Any] = json.loads(edge("inspect", DIGITS, "--json").stdout)
    text = edge("inspect", DIGITS).stdout
    assert found["fully_int8"] is True
    assert found["inputs"][0]["shape"] == [1, 8, 8, 1]
    assert found["sha256"] in text
    assert "int8 [1, 8, 8, 1]" in text


def test_schema_is_json_and_version_is_the_packages() -> None:
    schema = json.loads(edge("schema").stdout)
    assert "pipelines" in schema["properties"]
    assert edge("--version").stdout == f"edge {__version__}\n"


def test_wrong_usage_is_status_2() -> None:
    assert edge("nonsense").returncode == 2
    assert edge("infer").returncode == 2


def test_the_demo_shows_right_answers_and_ends_by_itself() -> None:
    done = edge("demo", "--seconds", "5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].strip().startswith("mosquitto_sub -h 127.0.0.1 -p ")
    assert any(" fps " in line and " P99 " in line for line in lines)
    frames, accuracy = lines[-2].split(" frames, accuracy ")
    assert int(frames) > 50
    assert float(accuracy.split("%")[0]) > 95
    assert lines[-1].startswith("capture to result: mean ")


def test_the_demos_second_face_finds_moving_digits_and_takes_a_picture_of_it(
    tmp_path: Path,
) -> None:
    snapshot = tmp_path / "found.jpg"
    done = edge("demo", "--detect", "--seconds", "8", "--snapshot", snapshot)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(re.search(r"  \d at \d+,\d+", line) for line in lines), done.stdout
    summary = re.search(
        r"([\d,]+) frames, found ([\d.]+)% of [\d,]+ digits, ([\d.]+)% of those told are right",
        done.stdout,
    )
    assert summary is not None, done.stdout
    assert int(summary[1].replace(",", "")) > 20
    assert float(summary[2]) > 50
    assert float(summary[3]) > 50
    assert lines[-1] == f"{snapshot}: a frame and what was found in it"
    picture = cv2.imread(str(snapshot))
    assert picture is not None
    assert picture.shape[1] == 320
    assert picture.shape[0] > 240  # the text below it


@pytest.mark.parametrize("name", ["found.png", "nowhere/found.jpg"])
def test_a_picture_that_the_demo_cannot_write_is_told_before_it_begins(
    name: str, tmp_path: Path
) -> None:
    done = edge("demo", "--detect", "--seconds", "3", "--snapshot", tmp_path / name)
    assert done.returncode == 2
    assert done.stderr.startswith("edge demo: --snapshot")
    assert done.stdout == ""


def test_the_wheel_carries_the_demo(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for face, shown in (([], "accuracy"), (["--detect"], "digits,")):
        done = subprocess.run(
            [sys.executable, "-m", "edge", "demo", *face, "--seconds", "2"],
            cwd=tmp_path / "site",
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
    imported = subprocess.run(
        [sys.executable, "-c", "import edge; print(edge.__file__)"],
        cwd=tmp_path / "site",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in imported.stdout, "it was the wheel that ran"
