"""Records arrive whole and in order, and a supervisor that does not read holds up nobody."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from edge.wire import (
    BACKLOG,
    KINDS,
    LARGEST_BYTES,
    Accepted,
    Accompany,
    Beat,
    Began,
    Change,
    Done,
    Ended,
    Failed,
    Job,
    Late,
    Look,
    Note,
    Picture,
    Ready,
    Record,
    Refused,
    Shadowed,
    Stop,
    Wire,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 20.0  # never reached, unless something hangs

RECORDS: list[Record] = [
    Ready(
        "litert", "2.3.0", "auto", 1, "ab" * 32, 33_304, ["int8 [1, 8]"], ["int8 [1]"], 4.5, 0.1, 3
    ),
    Done(
        7,
        10**15,
        10**15 + 1,
        10**15 + 2,
        10**15 + 3,
        10**15 + 4,
        2**62,
        "Schnappschüsse/über.png",
        None,
        [
            {"label": "cat", "index": 1, "score": 0.25},
            {"output": "x", "shape": [1, 2], "values": [1.5, -2.0, None]},
        ],
    ),
    Done(0, 0, 0, 0, 0, 0, 0, "", "truth", []),
    Done(9, 1, 2, 3, 4, 4, 4, "", None, [], cached=(7, 2**40, 0.9961, 1)),
    Late(8, 1, 2, 3, 4),
    Beat(replaced=[5, 0], lost=[6, 1], skipped=[0, 0], busy_since_ns=7),
    Note("source_lost", "it was unplugged", {"retrying": True, "file": None, "n": [1, 2]}),
    Failed("ModelError", "the model is no model"),
    Ended(),
    Began(3, b"\x00\xff"),
    Accepted(3),
    Job("dev", "door", '{"deadline_ms": 20}', [], None, check_only=False),
    Job(None, "door", "{}", [12, 0], 30, check_only=True, rung=2),
    Change(2, "{}"),
    Change(2, "{}", revision=3),
    Refused(2, "no such file"),
    Refused(0, "no such file", revision=3, error="ConfigError"),
    Accompany(0, "{}", revision=4, share=0.1),
    Shadowed(4, 7, 0, agreed=True, served_ns=2**33, inference_ns=5, failure=""),
    Shadowed(4, 8, 1, agreed=None, served_ns=1, inference_ns=0, failure="it failed"),
    Picture(b"\xff\xd8", 7, ""),
    Look(131_072),
    Stop(),
]


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Wire(ours), Wire(theirs)


def all_there(wire: Wire) -> list[Record]:
    """What can be received now."""
    records = []
    while (record := wire.receive()) is not None:
        records.append(record)
    return records


def filled(wire: Wire) -> int:
    """Send until the socket takes no more; how many it took."""
    sent = 0
    while not wire.backlog:
        wire.send(numbered(sent))
        sent += 1
    return sent - 1


def numbered(frame: int) -> Done:
    """A record of a few hundred bytes."""
    return Done(frame, 0, 0, 0, 0, 0, 0, "x" * 300, None, [])


def frames(records: list[Record]) -> list[int]:
    return [record.frame for record in records if isinstance(record, Done)]


def test_every_kind_of_record_is_tried_here() -> None:
    assert {type(record) for record in RECORDS} == set(KINDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_arrives_as_it_was_sent(ends: tuple[Wire, Wire], record: Record) -> None:
    worker, supervisor = ends
    worker.send(record)
    assert supervisor.wait(LONG_S)
    received = supervisor.receive()
    assert received == record
    assert type(received) is type(record)
    assert supervisor.receive() is None


def test_records_arrive_in_order_and_both_ways(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    for record in RECORDS:
        worker.send(record)
        supervisor.send(record)
    assert all_there(supervisor) == RECORDS
    assert all_there(worker) == RECORDS


def test_waiting_tells_whether_there_is_something_to_receive(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    assert not supervisor.wait(0)
    worker.send(Ended())
    assert supervisor.wait(0)


def test_a_full_socket_blocks_no_sender_and_what_it_kept_goes_out_later_in_order(
    ends: tuple[Wire, Wire],
) -> None:
    worker, supervisor = ends
    taken = filled(worker)
    assert taken > 10
    for frame in range(taken + 1, taken + 101):
        worker.send(numbered(frame))
    first = frames(all_there(supervisor))
    assert first == list(range(taken))
    while len(first) < taken + 101:  # what was kept goes out with the next calls
        worker.send(Beat([0], [0], [0], 0))
        first += frames(all_there(supervisor))
    assert first == list(range(taken + 101))
    assert worker.overflowed == 0


def test_past_the_backlog_the_oldest_are_dropped_and_counted(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    taken = filled(worker)
    sent = taken + BACKLOG + 50
    for frame in range(taken + 1, sent):
        worker.send(numbered(frame))
    assert worker.overflowed == 50
    received = frames(all_there(supervisor))
    while received[-1] < sent:
        worker.send(numbered(sent))
        received += frames(all_there(supervisor))
    lost = sorted(set(range(sent)) - set(received))
    assert lost == list(range(taken, taken + 50))


def test_a_sender_that_may_wait_loses_nothing_to_a_slow_reader(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    sent = BACKLOG + 500
    received: list[int] = []

    def read() -> None:
        with supervisor.socket:  # should it fail, the sender must not wait for ever
            while len(received) < sent:
                assert supervisor.wait(LONG_S)
                received.extend(frames(all_there(supervisor)))

    filled_with = filled(worker)
    reader = threading.Thread(target=read, daemon=True)
    for frame in range(filled_with + 1, sent):
        if frame == filled_with + 2:  # the first that has to wait, lest it wait for ever
            reader.start()
        worker.send(numbered(frame), may_wait=frame > filled_with + 1)
    reader.join(LONG_S)
    assert received == list(range(sent))
    assert worker.overflowed == 0


def test_a_record_of_the_largest_size_goes_through_and_one_larger_is_refused(
    ends: tuple[Wire, Wire],
) -> None:
    worker, supervisor = ends
    overhead = 100
    large = Note("x", "y" * (LARGEST_BYTES - overhead), {})
    worker.send(large)
    assert supervisor.receive() == large
    with pytest.raises(ValueError, match=r"a record of 2\d{5} bytes is too large"):
        worker.send(Note("x", "y" * LARGEST_BYTES, {}))
    worker.send(Ended())
    assert supervisor.receive() == Ended()


def test_sending_to_an_end_that_is_gone_says_so(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    supervisor.socket.close()
    with pytest.raises(ConnectionError):
        worker.send(Ended())


def test_one_that_waits_for_room_hears_that_the_other_end_is_gone(ends: tuple[Wire, Wire]) -> None:
    worker, supervisor = ends
    filled(worker)
    errors: list[Exception] = []

    def send() -> None:
        try:
            worker.send(Ended(), may_wait=True)
        except ConnectionError as error:
            errors.append(error)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    supervisor.socket.close()
    sender.join(LONG_S)
    assert len(errors) == 1


def test_what_was_sent_before_the_end_went_is_received_before_its_end_is_told(
    ends: tuple[Wire, Wire],
) -> None:
    worker, supervisor = ends
    worker.send(Failed("ModelError", "last words"))
    worker.socket.close()
    assert supervisor.wait(LONG_S)
    assert supervisor.receive() == Failed("ModelError", "last words")
    with pytest.raises(ConnectionError):
        supervisor.receive()


def test_the_last_words_of_an_end_that_left_something_unread_are_received(
    ends: tuple[Wire, Wire],
) -> None:
    worker, supervisor = ends
    supervisor.send(Stop())  # never read: the worker dies of something else
    worker.send(numbered(1))
    worker.send(Failed("ModelError", "last words"))
    worker.socket.close()
    assert supervisor.receive() == numbered(1)
    assert supervisor.receive() == Failed("ModelError", "last words")
    with pytest.raises(ConnectionError):
        supervisor.receive()


def test_what_is_not_of_builtin_types_is_refused_when_it_is_sent(ends: tuple[Wire, Wire]) -> None:
    worker, _ = ends
    with pytest.raises(ValueError, match="unmarshallable"):
        worker.send(Note("x", "y", {"path": object()}))
