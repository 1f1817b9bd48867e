"""Saved results: kept whole, read with suspicion, compared with care."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from lab_reports import MACHINE, report, subject

from edge.errors import ConfigError, EdgeError
from edge.lab.against import against, refuse_others
from edge.lab.saved import load, save, write_whole

STEADY = [[1.0, 1.01, 0.99]] * 20
HALF = [[0.5, 0.51, 0.49]] * 20
WILD = [[0.5], [2.0], [1.0], [0.7]] * 5


def test_what_is_saved_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = report([subject(STEADY), subject(WILD, input_size=(96, 128))])
    save(saved, tmp_path / "a.json")
    assert load(tmp_path / "a.json") == saved
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def damaged(change: dict[str, Any] | None = None, drop: str | None = None) -> str:
    """Return a saved report with something wrong in it."""
    whole = json.loads(report([subject(STEADY)]).model_dump_json())
    if drop is not None:
        del whole[drop]
    return json.dumps(whole | (change or {}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no bench saved with --save"),
        ("{", "is no bench saved with --save"),
        ("[]", "is no bench saved with --save"),
        ('"text"', "is no bench saved with --save"),
        ("[" * 100_000, "is no bench saved with --save"),
        ("\x00\xff", "is no bench saved with --save"),
        ("{}", "format: Field required (and 1 more)"),
        ('{"format": "other", "version": 1}', "its format is 'other'"),
        (damaged({"version": 2}), "was saved in version 2, this edge reads version 1"),
        (damaged({"version": "1"}), "version: Input should be a valid integer"),
        (damaged(drop="machine"), "is damaged: machine: Field required"),
        (damaged({"subjects": 3}), "is damaged: subjects: Input should be a valid array"),
        (damaged({"subjects": [{}]}), "is damaged: subjects.0.model: Field required (and "),
        (damaged({"rate_hz": float("nan")}), "rate_hz: Input should be a finite number"),
        (damaged({"more": 1}), "is damaged: more: Extra inputs are not permitted"),
    ],
)
def test_a_damaged_file_is_one_clear_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"slice_p50_ms": []},
        {"slice_p50_ms": [0.0]},
        {"slice_p50_ms": [-1.0]},
        {"hdr_ns": "HISTFAAA"},
        {"input_size": [1]},
        {"input_size": [0, 5]},
        {"threads": "1"},
    ],
)
def test_a_subject_that_cannot_be_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    whole = json.loads(damaged())
    whole["subjects"][0] |= change
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(ConfigError, match=next(iter(change))):
        load(path)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "a report")
        assert os.read(reader, 100) == b"a report"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_link_stays_a_link_and_its_file_is_written_whole(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    write_whole(link, "new")
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("place", ["", "absent/file"])
def test_where_nothing_can_be_written_that_is_told(place: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="cannot be written"):
        write_whole(tmp_path / place, "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read: "):
            load(path)


def test_a_change_is_told_and_noise_is_not() -> None:
    then = report([subject(STEADY), subject(WILD, threads=2), subject(STEADY, engine="other")])
    now = report([subject(HALF), subject(WILD[::-1], threads=2), subject(STEADY, threads=8)])
    faster, noisy = against(now, then).changes
    assert (faster.threads, faster.ratio, faster.verdict) == (1, 0.5, "faster")
    assert (noisy.threads, noisy.verdict) == (2, "cannot tell")
    (slower,) = against(then, report([subject(HALF)])).changes
    assert (slower.ratio, slower.verdict) == (2.0, "slower")


def test_a_slower_machine_is_no_slower_model() -> None:
    now = report([subject([[2.0]] * 20)], control_ms=[0.2] * 20)
    found = against(now, report([subject([[1.0]] * 20)]))
    assert found.control == 2
    assert [each.verdict for each in found.changes] == ["cannot tell"]


def test_too_few_slices_cannot_be_told() -> None:
    found = against(report([subject(HALF[:3])]), report([subject(STEADY)]))
    assert [(each.low, each.verdict) for each in found.changes] == [(None, "cannot tell")]


def test_another_processor_is_told_and_has_no_control() -> None:
    other = MACHINE.model_copy(update={"cpu": "Raspberry Pi 5", "governor": None})
    found = against(report([subject(HALF)], machine=other), report([subject(STEADY)]))
    assert found.control is None
    assert found.differences == [
        "cpu: Raspberry Pi 4 Model B Rev 1.4 then, Raspberry Pi 5 now",
        "governor: ondemand then, None now",
    ]
    assert [each.verdict for each in found.changes] == ["faster"]


def test_another_version_of_the_engine_is_told_once() -> None:
    then = [subject(STEADY, threads=each) for each in (1, 2)]
    now = [subject(HALF, threads=each, engine_version="2.4.0") for each in (1, 2)]
    assert against(report(now), report(then)).differences == ["litert: 2.3.0 then, 2.4.0 now"]


def test_another_model_and_another_pace_are_refused() -> None:
    then = report([subject(STEADY)])
    path = Path("then.json")
    refuse_others(then, path, digests={"aa", "bb"}, rate_hz=None)
    with pytest.raises(ConfigError, match=r"then\.json: holds measurements of a\.tflite, and not"):
        refuse_others(then, path, digests={"bb"}, rate_hz=None)
    with pytest.raises(ConfigError, match="was measured as fast as possible"):
        refuse_others(then, path, digests={"aa"}, rate_hz=30.0)
    with pytest.raises(ConfigError, match="--rate 15"):
        refuse_others(report([subject(STEADY)], rate_hz=15.0), path, digests={"aa"}, rate_hz=30.0)
