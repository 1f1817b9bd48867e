"""The `stdout` sink: whole lines, and nobody waits for who reads them."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from test_messages import RAW_RESULT

from edge.errors import SinkError
from edge.sinks import stdout
from edge.sinks.base import Sink
from edge.sinks.stdout import MOST_WAITING, StdoutOptions

LONG = replace(RAW_RESULT, predictions=[{"values": [0.125] * 5000}])  # more than a pipe's page


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe in the place of standard output; its end to read, its end to write."""
    reading, writing = os.pipe()
    monkeypatch.setattr(stdout, "STDOUT", writing)
    monkeypatch.setattr(stdout, "GOODBYE_S", 0.1)
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


def started() -> Sink:
    sink = StdoutOptions(type="stdout").make()
    sink.start()
    return sink


def send_until_refused(sink: Sink) -> tuple[int, str]:
    """Return how many messages were taken, and why the next was not."""
    for sequence in range(10 * MOST_WAITING):
        try:
            sink.send(replace(LONG, sequence=sequence))
        except SinkError as error:
            return sequence, str(error)
    raise AssertionError("all were taken")


def test_a_reader_who_does_not_read_keeps_nobody_waiting_and_then_gets_whole_lines(
    pipe: tuple[int, int],
) -> None:
    sink = started()
    taken, why = send_until_refused(sink)
    assert "is not being read" in why
    with os.fdopen(os.dup(pipe[0]), "rb") as reader:
        lines = [json.loads(reader.readline()) for _ in range(taken)]
    assert [line["sequence"] for line in lines] == list(range(taken))
    sink.close()


def test_a_reader_who_has_gone_is_told(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    sink = started()
    assert "takes nothing: Broken pipe" in send_until_refused(sink)[1]
    sink.close()


def test_the_end_waits_for_what_is_read(pipe: tuple[int, int]) -> None:
    sink = started()
    for sequence in range(3):
        sink.send(replace(RAW_RESULT, sequence=sequence))
    sink.close()
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), "rb") as reader:
        assert [json.loads(line)["sequence"] for line in reader] == [0, 1, 2]
