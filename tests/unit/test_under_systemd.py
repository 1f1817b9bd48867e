"""What the daemon says to systemd and to its journal, and how it begins again."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge.cli import main
from edge.supervisor import journald
from edge.supervisor.journald import Journal, entry, is_the_journal
from edge.supervisor.restarts import Restarts
from edge.supervisor.status_line import StatusLine, in_one_line
from edge.update_info import ReleaseInfo, UpdateInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline


# The journal.


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that listens as journald does."""
    path = str(tmp_path / "socket")
    monkeypatch.setattr(journald, "SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(10)
        yield listening


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def record(message: str, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("edge", logging.ERROR, "", 0, message, None, None)
    made.fields = fields
    return made


def fields_of(data: bytes) -> dict[str, bytes]:
    """Read an entry by the protocol's own description."""
    found = {}
    while data:
        name, equals, rest = data.partition(b"\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
            found[key.decode()], data = value, rest
        else:
            size = int.from_bytes(rest[:8], "little")
            assert equals
            assert rest[8 + size : 9 + size] == b"\n"
            found[name.decode()], data = rest[8 : 8 + size], rest[9 + size :]
    return found


def test_an_event_is_an_entry_with_fields(journal: socket.socket) -> None:
    otherwise = Kept()
    handler = Journal(otherwise)
    told = {"event": "worker_died", "pipeline": "porch", "restarts": 2, "last words": ["a", "b"]}
    handler.handle(record("worker_died pipeline=porch", **told))
    handler.close()
    assert fields_of(journal.recv(65536)) == {
        "MESSAGE": b"worker_died pipeline=porch",
        "PRIORITY": b"3",
        "SYSLOG_IDENTIFIER": b"edge",
        "EDGE_EVENT": b"worker_died",
        "EDGE_PIPELINE": b"porch",
        "EDGE_RESTARTS": b"2",
        "EDGE_LAST_WORDS": b'["a", "b"]',
    }
    assert otherwise.records == []


def test_a_value_of_several_lines_cannot_make_fields_of_its_own() -> None:
    made = fields_of(entry({"MESSAGE": "two\nPRIORITY=0", "EDGE_N": 1}))
    assert made == {"MESSAGE": b"two\nPRIORITY=0", "EDGE_N": b"1"}


def test_what_is_too_long_for_a_datagram_goes_in_a_sealed_file(journal: socket.socket) -> None:
    otherwise = Kept()
    handler = Journal(otherwise)
    handler.handle(record("long", event="long", text="x" * 5_000_000))
    handler.close()
    assert otherwise.records == []
    data, descriptors, _, _ = socket.recv_fds(journal, 65536, 4)
    assert data == b""
    (file,) = descriptors
    try:
        found = fields_of(os.pread(file, 10_000_000, 0))
        with pytest.raises(PermissionError):
            os.pwrite(file, b"y", 0)
    finally:
        os.close(file)
    assert found["EDGE_TEXT"] == b"x" * 5_000_000


def test_what_the_journal_does_not_take_goes_to_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journald, "SOCKET", "/nowhere/socket")
    otherwise = Kept()
    handler = Journal(otherwise)
    handler.handle(record("started", event="started"))
    handler.close()
    assert [each.getMessage() for each in otherwise.records] == ["started"]


def test_only_the_descriptor_that_systemd_named_is_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    try:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not is_the_journal(file)
        monkeypatch.setenv("JOURNAL_STREAM", "8:12345")  # it was led elsewhere since
        assert not is_the_journal(file)
        named = os.fstat(file)
        monkeypatch.setenv("JOURNAL_STREAM", f"{named.st_dev}:{named.st_ino}")
        assert is_the_journal(file)
    finally:
        os.close(file)
    assert not is_the_journal(file)


# systemctl status.


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket at which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        (tmp_path / "run").mkdir()
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
        yield listening


def test_a_wrong_configuration_is_told_before_the_end(
    manager: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "device.yaml"
    config.write_text("pipelines: {}\ndevise: x\n")
    assert main(["run", str(config)]) == 2
    status = manager.recv(4096).decode()
    assert status.startswith("STATUS=")
    assert f"{config}:2: devise: is not known here; did you mean `device`?" in status
    assert "\n" not in status
    assert "devise" in capsys.readouterr().err
    assert not list((tmp_path / "run").iterdir())  # it is no reason to wait the next time


def pipeline(state: str, failure: str | None = None) -> SupervisedPipeline:
    keeper = SimpleNamespace(failure=failure and SimpleNamespace(message=failure))
    made = SimpleNamespace(name="porch", state=state, standing=state, keeper=keeper)
    return cast("SupervisedPipeline", made)


def outlet(*, connected: bool, waiting: int = 0) -> Outlet:
    made = SimpleNamespace(connected=connected, waiting=waiting, address="10.0.0.1:1883")
    return cast("Outlet", made)


def metrics(**values: Any) -> Any:
    p99 = SimpleNamespace(p99=values.pop("p99", None))
    defaults = {"frames": 10, "fps": 29.97, "deadline_ms": 100.0, "deadline_misses": 0}
    return SimpleNamespace(**defaults | values, latency_recent_ms=p99)


def test_the_line_says_how_the_pipelines_do() -> None:
    line = StatusLine({"porch": pipeline("running")}, lambda _: None)
    there = outlet(connected=True)
    assert line.text(there) == "porch running; connected to 10.0.0.1:1883"
    line.measured["porch"] = metrics(p99=21.44, deadline_misses=2)
    assert line.text(there) == (
        "porch running (30 frames/s, P99 21.4 of 100 ms, 2 late); connected to 10.0.0.1:1883"
    )
    line.measured["porch"] = metrics()
    assert line.text(there).startswith("porch running (30 frames/s); ")


def test_the_line_says_which_model_came_over_the_air() -> None:
    release = ReleaseInfo(name="digits", version="1.1", digest="ab", key_id="CD")
    update = UpdateInfo(
        phase="probation",
        serving=release,
        good=None,
        candidate=release,
        fetched_bytes=None,
        last=None,
    )
    line = StatusLine({"porch": pipeline("running")}, {"porch": update}.get)
    there = outlet(connected=True)
    assert line.text(there).startswith("porch running with digits 1.1, on probation; ")
    update = replace(update, phase="none", good=release, candidate=None)
    line = StatusLine({"porch": pipeline("running")}, {"porch": update}.get)
    assert line.text(there).startswith("porch running with digits 1.1; ")
    update = replace(update, serving=None, good=None)
    line = StatusLine({"porch": pipeline("running")}, {"porch": update}.get)
    assert line.text(there).startswith("porch running; ")


def test_the_line_says_what_is_wrong() -> None:
    line = StatusLine(
        {"porch": pipeline("failed", "m.tflite: there is no such file")}, lambda _: None
    )
    away = outlet(connected=False, waiting=7)
    assert line.text(away) == (
        "porch failed (m.tflite: there is no such file); waiting for 10.0.0.1:1883, "
        "results and events kept: 7"
    )
    line.refused = "x.yaml:1: a\nx.yaml:2: b"
    assert line.text(away).endswith(
        "; the new configuration is not in force: x.yaml:1: a; x.yaml:2: b"
    )


def test_many_problems_make_one_line() -> None:
    assert in_one_line("a\nb\nc") == "a; b; c"
    assert in_one_line("a\nb\nc\nd\ne") == "a; b; c; and 2 more"


# Beginning again.


def began_earlier(folder: Path, *, bad_ends: int, ago_s: float) -> None:
    (folder / "restarts.json").write_text(json.dumps([bad_ends, time.monotonic() - ago_s]))


def test_the_first_restart_is_immediate_and_each_one_after_it_is_later(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del manager
    pauses: list[float] = []
    monkeypatch.setattr(signal, "sigtimedwait", lambda _, pause_s: pauses.append(pause_s))
    for _ in range(10):
        assert Restarts().wait()
    assert pauses == [1, 2, 4, 8, 15, 30, 60, 60]  # the first start and the first restart: none
    Restarts().ended_well()
    assert Restarts().wait()
    assert len(pauses) == 8
    began_earlier(tmp_path / "run", bad_ends=7, ago_s=61)
    assert Restarts().wait()  # it had run for a minute
    assert len(pauses) == 8


def test_the_pause_is_told_and_ends_when_we_are_told_to(
    manager: socket.socket, tmp_path: Path
) -> None:
    began_earlier(tmp_path / "run", bad_ends=6, ago_s=1)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def stop() -> None:
        assert b"STATUS=ended badly 7 times in a row" in manager.recv(4096)
        signal.pthread_kill(main_thread, signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert not Restarts().wait()
    stopping.join()
    assert not (tmp_path / "run/restarts.json").exists()


def test_without_systemd_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    began_earlier(tmp_path, bad_ends=6, ago_s=1)
    assert Restarts().wait()
