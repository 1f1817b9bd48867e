"""The supervisor's small parts: the wall clock, who we are, systemd's socket, the log's lines."""

from __future__ import annotations

import ctypes
import io
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import uuid
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from edge import identity
from edge.supervisor import clock, journald
from edge.supervisor import log as log_module
from edge.supervisor.log import LOGGER, log
from edge.supervisor.notify import notify, watchdog_interval_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MS = 1_000_000
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# The wall clock.


def stand_still(monkeypatch: pytest.MonkeyPatch, *, wall_ns: int, monotonic_ns: int) -> None:
    standing = SimpleNamespace(time_ns=lambda: wall_ns, monotonic_ns=lambda: monotonic_ns)
    monkeypatch.setattr(clock, "time", standing)


def test_utc_is_now_in_iso_8601_with_milliseconds() -> None:
    before = datetime.now(timezone.utc)
    said = clock.utc()
    after = datetime.now(timezone.utc)
    assert ISO.fullmatch(said)
    moment = datetime.fromisoformat(said.replace("Z", "+00:00"))
    assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= moment <= after


@pytest.mark.parametrize(
    ("wall_ns", "said"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123_000_000, "2023-11-14T22:13:20.123Z"),
        (1_700_000_000_999_999_000, "2023-11-14T22:13:20.999Z"),
        (1_772_323_199_001_000_000, "2026-02-28T23:59:59.001Z"),
    ],
)
def test_every_millisecond_is_told_even_that_of_a_full_second(
    monkeypatch: pytest.MonkeyPatch, wall_ns: int, said: str
) -> None:
    stand_still(monkeypatch, wall_ns=wall_ns, monotonic_ns=0)
    assert clock.utc() == said


def test_a_monotonic_moment_is_told_by_how_long_ago_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_still(monkeypatch, wall_ns=1_700_000_000_500 * MS, monotonic_ns=9_000 * MS)
    assert clock.utc(9_000 * MS) == "2023-11-14T22:13:20.500Z"
    assert clock.utc(8_600 * MS) == "2023-11-14T22:13:20.100Z"
    assert clock.utc(8_400 * MS) == "2023-11-14T22:13:19.900Z"


def test_the_time_zone_of_the_device_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        stand_still(monkeypatch, wall_ns=1_700_000_000_000 * MS, monotonic_ns=0)
        assert clock.utc() == "2023-11-14T22:13:20.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("state", "synced"), [(0, True), (1, True), (4, True), (clock.TIME_ERROR, False), (-1, False)]
)
def test_the_clock_is_synced_unless_the_kernel_says_it_is_not(
    monkeypatch: pytest.MonkeyPatch, state: int, *, synced: bool
) -> None:
    libc = SimpleNamespace(adjtimex=lambda _: state)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)
    assert clock.synced() is synced


def test_the_real_kernel_can_be_asked() -> None:
    assert clock.synced() in (True, False)


# Who we are.


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("1234567890abcdef1234567890abcdef\n")
    monkeypatch.setattr(identity, "MACHINE_ID", path)
    return path


@pytest.mark.usefixtures("machine_id")
def test_a_client_id_is_what_every_broker_takes() -> None:
    # MQTT 3.1.1, 3.1.3.1: a server must take 1 to 23 of these characters, and may refuse others.
    for device in ("porch-pi", "x", "ein Gerät " * 20):
        assert re.fullmatch(r"[0-9a-zA-Z-]{1,23}", identity.client_id(device))


def test_a_client_id_is_the_same_at_every_start_of_the_same_machine(machine_id: Path) -> None:
    first = identity.client_id("porch-pi")
    assert identity.client_id("porch-pi") == first
    machine_id.write_text("1234567890abcdef1234567890abcdef")
    assert identity.client_id("porch-pi") == first


def test_a_client_id_is_another_on_every_machine_and_for_every_device(machine_id: Path) -> None:
    here = identity.client_id("raspberrypi")
    assert identity.client_id("other") != here
    machine_id.write_text("fedcba0987654321fedcba0987654321\n")
    assert identity.client_id("raspberrypi") != here


def test_a_client_id_does_not_give_the_machine_id_away(machine_id: Path) -> None:
    secret = machine_id.read_text().strip()
    given = identity.client_id("porch-pi")
    assert not any(secret[at : at + 6] in given for at in range(len(secret) - 5))


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_machine_without_an_id_is_told_by_its_network_address(
    machine_id: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is None:
        machine_id.unlink()
    else:
        machine_id.write_text(content)
    ids = []
    for address in (0xB827EB000001, 0xB827EB000002, 0xB827EB000001):
        monkeypatch.setattr(uuid, "getnode", lambda address=address: address)
        ids.append(identity.client_id("porch-pi"))
    assert ids[0] == ids[2] != ids[1]


def test_every_boot_has_a_name_of_its_own() -> None:
    boots = {identity.new_boot() for _ in range(100)}
    assert len(boots) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", boot) for boot in boots)


# systemd.


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_assignments_arrive_as_lines_of_one_datagram(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=zwei Kameras für alles")
    assert manager.recv(4096).decode() == "READY=1\nSTATUS=zwei Kameras für alles"
    notify("WATCHDOG=1")
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_an_abstract_socket_is_one_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"edge-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("READY=1")
        assert sock.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "/too/long" * 50, "@nobody"])
def test_where_nobody_listens_it_is_silent(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_a_manager_that_went_away_is_no_reason_to_stop(manager: socket.socket) -> None:
    manager.close()
    notify("WATCHDOG=1")


@pytest.mark.parametrize(
    ("allowed_us", "due_s"),
    [("30000000", 15.0), ("1000000", 0.5), ("0", None), ("", None), ("soon", None), (None, None)],
)
def test_the_watchdog_is_due_twice_in_the_time_that_systemd_allows(
    monkeypatch: pytest.MonkeyPatch, allowed_us: str | None, due_s: float | None
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if allowed_us is not None:
        monkeypatch.setenv("WATCHDOG_USEC", allowed_us)
    assert watchdog_interval_s() == due_s


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval_s() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert watchdog_interval_s() is None


# The log.


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the log writes, started for a terminal; the logger is as before when all is over."""
    before = (LOGGER.handlers[:], LOGGER.propagate, LOGGER.level)
    stderr = io.StringIO()
    monkeypatch.setattr(log_module, "sys", SimpleNamespace(stderr=stderr))
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log_module.start(verbose=False)
    yield stderr
    for handler in LOGGER.handlers:
        handler.close()
    LOGGER.handlers[:], LOGGER.propagate = before[0], before[1]
    LOGGER.setLevel(before[2])


def line(written: io.StringIO) -> str:
    """The one line that was written, without its time and level."""
    text = written.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text.rstrip("\n").split(maxsplit=2)[2]


def test_a_line_is_the_event_its_fields_and_a_sentence(written: io.StringIO) -> None:
    log(logging.INFO, "model_loaded", "digits is loaded", pipeline="door", frame=7, init_ms=4.5)
    assert line(written) == (
        'model_loaded pipeline=door frame=7 init_ms=4.5 message="digits is loaded"'
    )


def test_a_line_for_a_terminal_begins_with_the_time_and_the_level(written: io.StringIO) -> None:
    log(logging.WARNING, "broker_away")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning broker_away\n", written.getvalue())


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)],
)
def test_where_the_journal_takes_no_fields_a_line_begins_with_its_priority(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, level: int, priority: int
) -> None:
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    monkeypatch.setattr(journald, "SOCKET", "/nowhere/socket")
    log_module.start(verbose=True)
    log(level, "started", devices=2)
    assert written.getvalue() == f"<{priority}>started devices=2\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("door", "door"),
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hello"', r'"say \"hello\""'),
        ("two\nlines", r'"two\nlines"'),
        ("a\\b", r'"a\\b"'),
        ("Gerät", "Gerät"),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.25, "0.25"),
        (3.0, "3"),
        ([1, 2], '"[1, 2]"'),
        (["a"], r'"[\"a\"]"'),
    ],
)
def test_a_value_is_quoted_only_where_it_must_be(
    written: io.StringIO, value: Any, text: str
) -> None:
    log(logging.INFO, "event", field=value)
    assert line(written) == f"event field={text}"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a\x1b[31mb",
        "a\x00b",
        "a\x7fb",
        "a\x9bb",
        "a\x85b",
        "a\u2028b",
        "a\udcfcb",
        "a\U000e0001b",
    ],
)
def test_no_value_can_begin_a_line_or_command_a_terminal(written: io.StringIO, text: str) -> None:
    log(logging.INFO, "event", text, field=text)
    assert len(written.getvalue().splitlines()) == 1
    assert written.getvalue().removesuffix("\n").isprintable()
    key, quoted = line(written).split(" message=")
    assert json.loads(quoted) == text
    assert key.startswith("event field=")


def test_a_line_comes_apart_as_a_shell_would_take_it(written: io.StringIO) -> None:
    log(logging.INFO, "event", "a sentence, with = and more", a="x y", b=1)
    assert shlex.split(line(written)) == [
        "event",
        "a=x y",
        "b=1",
        "message=a sentence, with = and more",
    ]


def test_what_is_below_info_is_written_only_when_verbose(written: io.StringIO) -> None:
    log(logging.DEBUG, "detail")
    assert written.getvalue() == ""
    log_module.start(verbose=True)
    log(logging.DEBUG, "detail")
    assert line(written) == "detail"


def test_starting_the_log_again_does_not_double_its_lines(written: io.StringIO) -> None:
    log_module.start(verbose=False)
    log(logging.INFO, "once")
    assert written.getvalue().count("once") == 1


def test_the_supervisors_small_parts_import_neither_opencv_nor_an_engine() -> None:
    parts = "clock, log, notify"
    heavy = "cv2, numpy, ai_edge_litert, tflite_runtime"
    program = (
        f"import sys; from edge.supervisor import {parts}; "
        f"print([each for each in '{heavy}'.split(', ') if each in sys.modules])"
    )
    path = os.pathsep.join(each or os.getcwd() for each in sys.path)  # noqa: PTH109
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
