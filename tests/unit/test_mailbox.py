"""Where the two threads meet: who finds the engine idle runs, the newest waits, none is shared."""

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


def written(mailbox: Mailbox, number: int) -> Slot:
    slot = mailbox.blank()
    slot.grabbed = Grabbed(number, captured_ns=number)
    slot.tensor[:] = number
    return slot


def running(mailbox: Mailbox) -> Slot:
    """A slot that found the engine idle, and whose forward pass is under way."""
    slot = written(mailbox, -1)
    assert mailbox.offer(slot)
    return slot


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_who_offers_a_frame_while_the_engine_is_idle_runs_it() -> None:
    mailbox = a_mailbox()
    assert mailbox.idle
    slot = written(mailbox, 0)
    assert mailbox.offer(slot)
    assert not mailbox.idle
    assert mailbox.next(slot) is None
    assert mailbox.idle


def test_behind_a_forward_pass_the_newest_frame_waits_and_the_replaced_are_counted() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    for number in range(5):
        assert not mailbox.offer(written(mailbox, number))
    assert mailbox.replaced == 4
    following = mailbox.next(slot)
    assert following is not None
    assert following.grabbed.number == 4
    assert not mailbox.idle
    assert mailbox.next(following) is None


def test_a_frame_that_is_skipped_counts_as_replaced() -> None:
    mailbox = a_mailbox()
    mailbox.skip()
    assert mailbox.replaced == 1


def test_the_tensor_and_the_times_wait_with_the_frame() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    waiting = written(mailbox, 7)
    waiting.retrieved_ns, waiting.prepared_ns = 11, 12
    mailbox.offer(waiting)
    following = mailbox.next(slot)
    assert following is not None
    assert following.grabbed == Grabbed(7, captured_ns=7)
    assert (following.retrieved_ns, following.prepared_ns) == (11, 12)
    assert following.tensor.tolist() == [7, 7, 7, 7]


def test_there_is_room_while_nothing_waits() -> None:
    mailbox = a_mailbox()
    assert mailbox.wait_for_room(0)
    slot = running(mailbox)
    assert mailbox.wait_for_room(0)
    mailbox.offer(written(mailbox, 0))
    assert not mailbox.wait_for_room(0)
    following = mailbox.next(slot)
    assert mailbox.wait_for_room(0)
    assert following is not None
    mailbox.offer(written(mailbox, 1))
    assert not mailbox.wait_for_room(0)


def test_waiting_for_room_waits_out_its_time_every_time() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    for number in range(3):
        mailbox.offer(written(mailbox, number))
        began = time.monotonic()
        assert not mailbox.wait_for_room(0.02)
        assert time.monotonic() - began >= 0.015
        following = mailbox.next(slot)
        assert following is not None
        slot = following
        assert mailbox.wait_for_room(0.02)


def test_taking_what_waits_wakes_the_one_that_waits_for_room() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    mailbox.offer(written(mailbox, 0))
    woken = threading.Event()

    def wait() -> None:
        while not mailbox.wait_for_room(LONG_S):
            pass
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not woken.wait(0.01)
    assert mailbox.next(slot) is not None
    assert woken.wait(LONG_S / 2)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["offer", "next"]), max_size=40))
def test_no_buffer_is_written_while_it_waits_or_is_read(steps: list[str]) -> None:
    mailbox = a_mailbox()
    writing, waiting, read = mailbox.blank(), None, None
    for step in steps:
        if step == "offer":
            if mailbox.offer(writing):
                assert read is None
                read = writing
            else:
                waiting = writing
            writing = mailbox.blank()
        elif read is not None:
            assert mailbox.next(read) is waiting
            read, waiting = waiting, None
        slots = [slot for slot in (writing, waiting, read) if slot is not None]
        assert len({id(slot.tensor) for slot in slots}) == len(slots)


class Pair:
    """Two threads that go the whole way by turns, as the loop's do."""

    def __init__(self, frames: int, *, pulled: bool) -> None:
        self.mailbox = Mailbox(lambda: np.zeros(64, np.int64))
        self._numbers = iter(range(frames))
        self._pulled = pulled
        self._turn = threading.Lock()
        self._slot = self.mailbox.blank()
        self._running = threading.Lock()
        self.read: list[int] = []
        self.torn = 0

    def __call__(self) -> list[int]:
        threads = [threading.Thread(target=self._go) for _ in "12"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
        return self.read

    def _go(self) -> None:
        while True:
            with self._turn:
                slot = self._write()
            if slot is None:
                return
            while slot is not None:
                self._read_slowly(slot)
                slot = self.mailbox.next(slot)

    def _write(self) -> Slot | None:
        for number in self._numbers:
            while self._pulled and not self.mailbox.wait_for_room(LONG_S):
                pass
            slot = self._slot
            slot.grabbed = Grabbed(number, captured_ns=0)
            for start in range(0, 64, 8):  # in steps, so that a reader could see it half done
                slot.tensor[start : start + 8] = number
            ours = self.mailbox.offer(slot)
            self._slot = self.mailbox.blank()
            if ours:
                return slot
        return None

    def _read_slowly(self, slot: Slot) -> None:
        assert self._running.acquire(blocking=False), "two forward passes at once"
        number = slot.grabbed.number
        for _ in range(4):
            self.torn += not (slot.tensor == number).all() or slot.grabbed.number != number
            time.sleep(0)  # the other's turn
        self.read.append(number)
        self._running.release()


@pytest.mark.usefixtures("threads_change_often")
def test_no_frame_is_torn_and_each_is_read_or_counted() -> None:
    pair = Pair(2000, pulled=False)
    numbers = pair()
    assert pair.torn == 0
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 1999
    assert len(numbers) + pair.mailbox.replaced == 2000


@pytest.mark.usefixtures("threads_change_often")
def test_who_waits_for_room_loses_nothing_and_keeps_the_order() -> None:
    pair = Pair(2000, pulled=True)
    assert pair() == list(range(2000))
    assert pair.torn == 0
    assert pair.mailbox.replaced == 0
