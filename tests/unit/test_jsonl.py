"""The `jsonl` sink: whole lines, bounded files, and back at work when it can be."""

import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import SinkError
from edge.messages import Event
from edge.sinks.jsonl import JsonlOptions


def event(number: int, text: str = "x") -> Event:
    return Event(
        device="d",
        boot="b",
        pipeline=None,
        sequence=number,
        at="2026-05-04T03:02:01.000Z",
        clock_synced=True,
        event="started",
        message=text,
        details={"n": number},
    )


def make(path: Path, **more: Any) -> Any:
    return JsonlOptions(type="jsonl", path=path, messages=["events"], **more).make()


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["details"]["n"] for line in path.read_text().splitlines()]


@pytest.fixture
def small_files() -> Iterator[int]:
    """The kernel refuses to let files of this process grow past 5,000 bytes, as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    yield 5000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_files_are_set_aside_whole_and_the_oldest_removed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = make(path, max_bytes=1000, keep=2)
    for number in range(50):
        sink.send(event(number))
    sink.close()
    files = [tmp_path / name for name in ("out.jsonl.2", "out.jsonl.1", "out.jsonl")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    found = [number for file in files for number in numbers(file)]
    assert found == list(range(found[0], 50))
    assert found[0] > 0
    assert all(file.stat().st_size <= 1000 for file in files)


def test_files_beyond_a_smaller_keep_go(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for keep in (4, 2):
        sink = make(path, max_bytes=1000, keep=keep)
        for number in range(50):
            sink.send(event(number))
        sink.close()
        aside = {each.name for each in tmp_path.iterdir()} - {"out.jsonl"}
        assert aside == {f"out.jsonl.{number + 1}" for number in range(keep)}


def test_without_keep_a_full_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = make(path, max_bytes=1000, keep=0)
    for number in range(50):
        sink.send(event(number))
    sink.close()
    assert list(tmp_path.iterdir()) == [path]
    assert numbers(path)[-1] == 49


def test_after_a_rename_by_somebody_else_the_name_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = make(path)
    sink.send(event(0))
    path.rename(tmp_path / "moved")
    sink.send(event(1))
    sink.close()
    assert (numbers(tmp_path / "moved"), numbers(path)) == ([0], [1])


def test_no_part_of_a_line_stays_on_a_full_disk_and_room_brings_it_back(
    tmp_path: Path, small_files: int
) -> None:
    path = tmp_path / "out.jsonl"
    sink = make(path, max_bytes=1_000_000)
    sink.send(event(0))
    said = set()
    for number in (1, 2):
        with pytest.raises(SinkError, match="cannot be written: File too large") as caught:
            sink.send(event(number, "y" * small_files))
        said.add(str(caught.value))
    assert len(said) == 1  # one text, so that the log tells it once
    sink.send(event(3))
    sink.close()
    assert numbers(path) == [0, 3]


def test_a_folder_that_comes_later_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "later" / "out.jsonl"
    sink = make(path)
    with pytest.raises(SinkError, match="No such file or directory"):
        sink.send(event(0))
    path.parent.mkdir()
    sink.send(event(1))
    sink.close()
    assert numbers(path) == [1]


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkError, match="no regular file"):
        make(tmp_path / "pipe").send(event(0))


def test_a_line_cut_off_by_a_power_cut_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"half', encoding="utf-8")
    sink = make(path)
    sink.send(event(1))
    sink.close()
    first, second = path.read_text().splitlines()
    assert first == '{"half'
    assert json.loads(second)["details"] == {"n": 1}
