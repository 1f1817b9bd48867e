"""`edge optimize prune` and `distill`, as their user runs them, on three kinds of pictures.

What they find on digits is in test_workshop_figures.py.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from commands import edge
from pseudo_terminal import PseudoTerminal

from edge.engines.model_file import read_model_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trains

QUICK = ("--seconds", "0.05", "--samples", "20")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with big.keras and data.npz: dark, grey and bright pictures."""
    from edge.workshop.framework import tensorflow

    folder = tmp_path_factory.mktemp("start")
    random = np.random.default_rng(7)
    y = np.arange(150) % 3
    x = random.integers(0, 80, (150, 6, 6, 1)) + 80 * y[:, None, None, None]
    np.savez(folder / "data.npz", x=x.astype(np.uint8), y=y, classes=["dark", "grey", "bright"])
    keras = tensorflow().keras
    layers = keras.layers
    keras.utils.set_random_seed(1)
    hidden = [layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten()]
    last = layers.Dense(3, activation="softmax", name="classes")
    keras.Sequential([keras.Input((6, 6, 1)), *hidden, last]).save(folder / "big.keras")
    return folder


def card_of(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = yaml.safe_load((folder / "card.yaml").read_text())
    for name, file in card["files"].items():
        data = (folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size_bytes"], file["sha256"])
    return card


def figures(card: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["network"], each["mode"]): each for each in card["figures"]}


def test_structured_pruning_makes_a_smaller_network_and_the_same_one_again(
    start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "narrow"
    command: list[str | Path] = [
        "optimize",
        "prune",
        start / "big.keras",
        "--data",
        start / "data.npz",
    ]
    command += ["--out", out, "--structured", "--epochs", "4", "--rounds", "2", *QUICK]
    done = edge(*command)
    assert done.returncode == 0, done.stderr
    assert "channels:     conv 8 -> 4" in done.stdout
    assert "left whole:   classes (softmax weighs them against each other)" in done.stdout
    card = card_of(out)
    roles = {name: file["role"] for name, file in card["files"].items()}
    assert roles == {
        "narrow.tflite": "model",
        "narrow.keras": "network",
        "narrow.golden.npz": "golden",
        "labels.txt": "labels",
        "README.md": "readme",
    }
    model = read_model_file(out / "narrow.tflite")
    assert model.fully_int8
    found = figures(card)
    assert model.macs == found["pruned", "int8"]["macs"] < found["before", "int8"]["macs"] / 1.9
    assert found["pruned", "float"]["size_bytes"] < found["before", "float"]["size_bytes"]
    assert (out / "labels.txt").read_text() == "dark\ngrey\nbright\n"

    again = edge(*command)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith(f"the model in {out} before had the same bytes\n")
    for name in ("narrow.tflite", "narrow.keras"):
        assert card_of(out)["files"][name] == card["files"][name]


def test_ctrl_c_leaves_nothing_behind(start: Path, tmp_path: Path) -> None:
    out = tmp_path / "never"
    with PseudoTerminal(
        *("optimize", "prune", str(start / "big.keras"), "--data", str(start / "data.npz")),
        *("--out", str(out), "--epochs", "1000000"),
    ) as terminal:
        terminal.wait_for(lambda _: b"fine-tuning" in terminal.written)
        terminal.press("\x03")
        terminal.wait_for(lambda _: b"interrupted" in terminal.written)
        assert terminal.wait() == 130
    assert not list(tmp_path.glob("*never*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune", "{}.tflite"), "is a converted model, which cannot be trained: name the .keras"),
        (("prune", "{}.none"), "there is no such file"),
        (("prune", "{}.keras", "--sparsity", "1"), "--sparsity must be more than 0 and less than"),
        (("prune", "{}.keras", "--sparsity", "nan"), "--sparsity must be more than 0 and less"),
        (("prune", "{}.keras", "--rounds", "2"), "--rounds goes with --structured"),
        (("prune", "{}.keras", "--structured", "--scope", "layer"), "--scope does not go with"),
        (("prune", "{}.keras", "--structured", "--epochs", "2"), "one is needed for each of 3"),
        (("prune", "{}.keras", "--epochs", "0"), "--epochs must be at least 1"),
        (("distill", "--teacher", "{}.tflite", "--student", "{}.keras"), "cannot be trained"),
        (("distill", "--teacher", "{}.keras", "--student", "{}.keras", "--alpha", "1"), "--alpha"),
        (
            ("distill", "--teacher", "{}.keras", "--student", "{}.keras", "--feature", "a"),
            "--feature 'a': write TEACHER_LAYER=STUDENT_LAYER",
        ),
        (
            ("distill", "--teacher", "{}.keras", "--student", "{}.keras", "--temperature", "0"),
            "--temperature must be more than 0",
        ),
    ],
)
def test_what_will_not_do_is_told_in_one_line_before_anything_is_loaded(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge.cli import main

    for ending in ("keras", "tflite"):
        (tmp_path / f"m.{ending}").touch()
    words = [each.replace("{}", str(tmp_path / "m")) for each in arguments]
    status = main(["optimize", *words, "--data", "any.npz", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert status == 2
    assert len(told.splitlines()) == 1
    assert said in told
    assert not (tmp_path / "out").exists()
