"""The one slot between two threads: the newest frame wins, and no buffer is ever shared."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sources.base import Grabbed
from edge.worker.mailbox import Mailbox, Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 20.0  # never reached, unless something hangs


def a_mailbox() -> Mailbox:
    return Mailbox(lambda: np.zeros(4, np.int64))


def post(mailbox: Mailbox, slot: Slot, number: int) -> Slot:
    slot.grabbed = Grabbed(number, captured_ns=number)
    slot.tensor[:] = number
    return mailbox.post(slot)


def taken(mailbox: Mailbox) -> int:
    slot = mailbox.take(LONG_S)
    assert slot is not None
    return slot.grabbed.number


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_the_newest_frame_wins_and_the_ones_it_replaced_are_counted() -> None:
    mailbox = a_mailbox()
    slot = mailbox.first()
    for number in range(5):
        slot = post(mailbox, slot, number)
    assert taken(mailbox) == 4
    assert mailbox.replaced == 4
    post(mailbox, slot, 5)
    assert taken(mailbox) == 5
    assert mailbox.replaced == 4


def test_a_frame_is_taken_once() -> None:
    mailbox = a_mailbox()
    post(mailbox, mailbox.first(), 0)
    assert taken(mailbox) == 0
    assert mailbox.take(0.001) is None
    assert not mailbox.ended


def test_the_tensor_and_the_times_arrive_with_the_frame() -> None:
    mailbox = a_mailbox()
    slot = mailbox.first()
    slot.retrieved_ns, slot.prepared_ns = 11, 12
    post(mailbox, slot, 7)
    read = mailbox.take(LONG_S)
    assert read is not None
    assert read.grabbed == Grabbed(7, captured_ns=7)
    assert (read.retrieved_ns, read.prepared_ns) == (11, 12)
    assert read.tensor.tolist() == [7, 7, 7, 7]


def test_taking_waits_for_a_frame_that_is_posted_later() -> None:
    mailbox = a_mailbox()
    numbers: list[int] = []
    taker = threading.Thread(target=lambda: numbers.append(taken(mailbox)))
    taker.start()
    post(mailbox, mailbox.first(), 3)
    taker.join(LONG_S)
    assert numbers == [3]


def test_taking_gives_up_when_the_time_has_passed() -> None:
    mailbox = a_mailbox()
    began = time.monotonic()
    assert mailbox.take(0.02) is None
    assert time.monotonic() - began >= 0.015


def test_closing_wakes_the_taker() -> None:
    mailbox = a_mailbox()
    answers: list[Slot | None] = []
    taker = threading.Thread(target=lambda: answers.append(mailbox.take(LONG_S)))
    taker.start()
    mailbox.close()
    taker.join(LONG_S / 2)
    assert answers == [None]
    assert mailbox.ended


def test_what_lay_there_when_it_was_closed_is_still_taken_and_then_it_has_ended() -> None:
    mailbox = a_mailbox()
    post(mailbox, mailbox.first(), 9)
    mailbox.close()
    assert not mailbox.ended
    assert taken(mailbox) == 9
    assert mailbox.ended
    assert mailbox.take(LONG_S) is None


def test_there_is_room_while_nothing_lies_unread() -> None:
    mailbox = a_mailbox()
    assert mailbox.wait_for_room(0)
    slot = post(mailbox, mailbox.first(), 0)
    assert not mailbox.wait_for_room(0)
    assert taken(mailbox) == 0
    assert mailbox.wait_for_room(0)
    post(mailbox, slot, 1)
    assert not mailbox.wait_for_room(0)


def test_waiting_for_room_waits_out_its_time_every_time() -> None:
    mailbox = a_mailbox()
    slot = mailbox.first()
    for number in range(3):
        slot = post(mailbox, slot, number)
        began = time.monotonic()
        assert not mailbox.wait_for_room(0.02)
        assert time.monotonic() - began >= 0.015
        assert taken(mailbox) == number
        assert mailbox.wait_for_room(0.02)


def test_taking_wakes_the_one_that_waits_for_room() -> None:
    mailbox = a_mailbox()
    post(mailbox, mailbox.first(), 0)
    woken = threading.Event()

    def wait() -> None:
        while not mailbox.wait_for_room(LONG_S):
            pass
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not woken.wait(0.01)
    assert taken(mailbox) == 0
    assert woken.wait(LONG_S / 2)


@pytest.mark.usefixtures("threads_change_often")
def test_a_writer_that_waits_for_room_loses_nothing_and_keeps_the_order() -> None:
    mailbox = a_mailbox()
    frames = 2000

    def write() -> None:
        slot = mailbox.first()
        for number in range(frames):
            while not mailbox.wait_for_room(LONG_S):
                pass
            slot = post(mailbox, slot, number)
        mailbox.close()

    writer = threading.Thread(target=write)
    writer.start()
    numbers = []
    while (slot := mailbox.take(LONG_S)) is not None:
        numbers.append(slot.grabbed.number)
    writer.join(LONG_S)
    assert numbers == list(range(frames))
    assert mailbox.replaced == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from(["post", "take"]), max_size=40))
def test_what_is_written_lies_neither_in_the_mailbox_nor_with_the_reader(steps: list[str]) -> None:
    mailbox = a_mailbox()
    written, lying, read = mailbox.first(), None, None
    for number, step in enumerate(steps):
        if step == "post":
            lying, written = written, post(mailbox, written, number)
        elif lying is not None:
            assert mailbox.take(LONG_S) is lying
            lying, read = None, lying
        slots = [slot for slot in (written, lying, read) if slot is not None]
        assert len({id(slot.tensor) for slot in slots}) == len(slots)


@pytest.mark.usefixtures("threads_change_often")
def test_no_frame_is_ever_torn_between_a_fast_writer_and_a_slow_reader() -> None:
    mailbox = Mailbox(lambda: np.zeros(64, np.int64))
    enough = threading.Event()
    posted = 0

    def write() -> None:
        nonlocal posted
        slot = mailbox.first()
        while not enough.is_set():
            slot.grabbed = Grabbed(posted, captured_ns=0)
            for start in range(0, 64, 8):  # in steps, so that a reader could see it half done
                slot.tensor[start : start + 8] = posted
            slot = mailbox.post(slot)
            posted += 1
        mailbox.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    numbers = []
    try:
        while (slot := mailbox.take(LONG_S)) is not None:
            number = slot.grabbed.number
            numbers.append(number)
            for _ in range(4):  # it stays ours until the next take
                assert (slot.tensor == number).all()
                assert slot.grabbed.number == number
                time.sleep(0)  # the writer's turn
            if len(numbers) == 500:
                enough.set()
    finally:
        enough.set()
        writer.join(LONG_S)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == posted - 1
    assert len(numbers) + mailbox.replaced == posted
