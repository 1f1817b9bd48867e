"""Where the threads meet: who finds the engine idle runs, the newest waits, none is shared."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sources.base import Grabbed
from edge.worker.mailbox import Mailbox, Slot
from edge.worker.schedule import NEVER_NS, Costs, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.worker.prepare import Prepared

LONG_S = 20.0  # never reached, unless something hangs
LONG_NS = 3600 * 10**9


class StandIn:
    """What a frame is prepared for, as far as the mailbox looks at it."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.costs = Costs()
        self.preprocess = self

    def buffer(self) -> Any:
        return np.zeros(64, np.int64)


def a_way(batch: int = 1) -> Prepared:
    return cast("Prepared", StandIn(batch))


WAY = a_way()


def a_mailbox(sources: int = 1, *, batch: int = 1, max_wait_ns: int = 0) -> Mailbox:
    schedule: Schedule[Slot] = Schedule(
        [NEVER_NS] * sources, drop_late=False, max_size=batch, max_wait_ns=max_wait_ns
    )
    return Mailbox(schedule, lambda: [None] * sources)


def written(mailbox: Mailbox, number: int, *, source: int = 0, way: Prepared = WAY) -> Slot:
    slot = mailbox.blank(way)
    slot.grabbed = Grabbed(number, captured_ns=number)
    slot.captured_ns, slot.source = number, source
    slot.prepared_ns = time.monotonic_ns()
    slot.tensor[:] = number
    return slot


def running(mailbox: Mailbox) -> Slot:
    """A slot that found the engine idle, and whose forward pass is under way."""
    slot = written(mailbox, -1)
    assert mailbox.offer(slot)
    assert mailbox.take() == ([slot], [])
    return slot


def following(mailbox: Mailbox, slot: Slot) -> Slot:
    """The one that was waiting behind a slot whose forward pass ends."""
    assert mailbox.give_back()
    mailbox.recycle(slot)
    (after,) = mailbox.take().run
    return after


def in_a_thread(what: Callable[[], object]) -> threading.Event:
    """Run something beside; the event is set when it has ended."""
    ended = threading.Event()

    def go() -> None:
        what()
        ended.set()

    threading.Thread(target=go, daemon=True).start()
    return ended


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_who_offers_a_frame_while_the_engine_is_idle_runs_it() -> None:
    mailbox = a_mailbox()
    assert mailbox.idle
    running(mailbox)
    assert not mailbox.idle
    assert not mailbox.give_back()
    assert mailbox.idle


def test_behind_a_forward_pass_the_newest_frame_waits_and_the_replaced_are_counted() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    for number in range(5):
        assert not mailbox.offer(written(mailbox, number))
    assert mailbox.replaced == [4]
    after = following(mailbox, slot)
    assert after.grabbed.number == 4
    assert not mailbox.idle
    assert not mailbox.give_back()


def test_each_source_has_room_of_its_own() -> None:
    mailbox = a_mailbox(3)
    slot = running(mailbox)
    for source in (2, 0, 2):
        mailbox.offer(written(mailbox, source, source=source))
    assert mailbox.replaced == [0, 0, 1]
    assert mailbox.wait_for_room(1, 0)
    assert not mailbox.wait_for_room(2, 0)
    assert following(mailbox, slot).source == 0


def test_a_frame_that_is_skipped_counts_as_replaced() -> None:
    mailbox = a_mailbox(2)
    mailbox.skip(1)
    assert mailbox.replaced == [0, 1]


def test_the_tensor_and_the_times_wait_with_the_frame() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    waiting = written(mailbox, 7)
    waiting.retrieved_ns, waiting.prepared_ns = 11, 12
    mailbox.offer(waiting)
    after = following(mailbox, slot)
    assert after.grabbed == Grabbed(7, captured_ns=7)
    assert (after.retrieved_ns, after.prepared_ns) == (11, 12)
    assert set(after.tensor.tolist()) == {7}


def test_a_slot_that_was_made_for_another_way_is_not_written_for_this_one() -> None:
    mailbox, other = a_mailbox(), a_way()
    slot = running(mailbox)
    mailbox.recycle(slot)
    assert mailbox.blank(WAY) is slot
    mailbox.recycle(slot)
    fresh = mailbox.blank(other)
    assert fresh is not slot
    assert fresh.way is other


def test_there_is_room_while_nothing_waits() -> None:
    mailbox = a_mailbox()
    assert mailbox.wait_for_room(0, 0)
    slot = running(mailbox)
    assert mailbox.wait_for_room(0, 0)
    mailbox.offer(written(mailbox, 0))
    assert not mailbox.wait_for_room(0, 0)
    following(mailbox, slot)
    assert mailbox.wait_for_room(0, 0)
    mailbox.offer(written(mailbox, 1))
    assert not mailbox.wait_for_room(0, 0)


def test_waiting_for_room_waits_out_its_time_every_time() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    for number in range(3):
        mailbox.offer(written(mailbox, number))
        began = time.monotonic()
        assert not mailbox.wait_for_room(0, 0.02)
        assert time.monotonic() - began >= 0.015
        slot = following(mailbox, slot)
        assert mailbox.wait_for_room(0, 0.02)


def test_taking_what_waits_wakes_the_one_that_waits_for_room() -> None:
    mailbox = a_mailbox()
    slot = running(mailbox)
    mailbox.offer(written(mailbox, 0))

    def wait() -> None:
        while not mailbox.wait_for_room(0, LONG_S):
            pass

    woken = in_a_thread(wait)
    assert not woken.wait(0.01)
    following(mailbox, slot)
    assert woken.wait(LONG_S / 2)


def test_what_came_to_wait_during_a_forward_pass_shares_the_next() -> None:
    mailbox, way = a_mailbox(batch=4), a_way(4)
    running(mailbox)
    for number in range(6):
        mailbox.offer(written(mailbox, number, way=way))
    assert mailbox.replaced == [2]
    assert mailbox.give_back()
    assert [each.grabbed.number for each in mailbox.take().run] == [2, 3, 4, 5]


def test_a_batch_is_gathered_until_it_is_full() -> None:
    mailbox, way = a_mailbox(batch=3, max_wait_ns=LONG_NS), a_way(3)
    taken: list[int] = []
    assert mailbox.offer(written(mailbox, 0, way=way))
    ended = in_a_thread(lambda: taken.extend(s.grabbed.number for s in mailbox.take().run))
    assert not mailbox.offer(written(mailbox, 1, way=way)), "it is gathered by who offered first"
    assert not ended.wait(0.01)
    mailbox.offer(written(mailbox, 2, way=way))
    assert ended.wait(LONG_S)
    assert taken == [0, 1, 2]


def test_a_batch_is_gathered_for_no_longer_than_asked() -> None:
    mailbox = a_mailbox(batch=3, max_wait_ns=20_000_000)
    began = time.monotonic()
    assert mailbox.offer(written(mailbox, 0, way=a_way(3)))
    assert len(mailbox.take().run) == 1
    assert 0.015 < time.monotonic() - began < LONG_S


def test_a_batch_is_not_gathered_for_frames_that_will_not_come() -> None:
    mailbox = a_mailbox(batch=3, max_wait_ns=LONG_NS)
    assert mailbox.offer(written(mailbox, 0, way=a_way(3)))
    ended = in_a_thread(mailbox.take)
    assert not ended.wait(0.01)
    mailbox.end()
    assert ended.wait(LONG_S)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["offer", "next"]), max_size=40))
def test_no_buffer_is_written_while_it_waits_or_is_read(steps: list[str]) -> None:
    mailbox = a_mailbox()
    writing, waiting, read = written(mailbox, 0), None, None
    for step in steps:
        if step == "offer":
            if mailbox.offer(writing):
                assert read is None
                read = writing
                assert mailbox.take() == ([read], [])
            else:
                waiting = writing
            writing = written(mailbox, 0)
        elif read is not None:
            more = mailbox.give_back()
            mailbox.recycle(read)
            assert more == (waiting is not None)
            if more:
                assert mailbox.take() == ([waiting], [])
            read, waiting = waiting, None
        slots = [slot for slot in (writing, waiting, read) if slot is not None]
        assert len({id(slot.tensor) for slot in slots}) == len(slots)


class Crowd:
    """Threads that go the whole way by turns, as the loop's do: one more than sources."""

    def __init__(self, frames: int, *, sources: int = 1, pulled: bool, batch: int = 1) -> None:
        self.mailbox = a_mailbox(sources, batch=batch)
        self._way = a_way(batch)
        self._numbers = [iter(range(frames)) for _ in range(sources)]
        self._pulled = pulled
        self._turns = [threading.Lock() for _ in range(sources)]
        self._running = threading.Lock()
        self.read: list[list[int]] = [[] for _ in range(sources)]
        self.largest = 0
        self.torn = 0

    def __call__(self) -> list[list[int]]:
        threads = [threading.Thread(target=self._go) for _ in range(len(self._turns) + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
        return self.read

    def _go(self) -> None:
        over: set[int] = set()
        while len(over) < len(self._turns):
            for source, turn in enumerate(self._turns):
                if source in over or not turn.acquire(blocking=False):
                    continue
                with_turn = self._write(source)
                turn.release()
                if not with_turn:
                    over.add(source)
                    continue
                more = True
                while more:
                    taken = self.mailbox.take()
                    self._read_slowly(taken.run)
                    for slot in taken.run:
                        self.mailbox.recycle(slot)
                    more = self.mailbox.give_back()
            time.sleep(0)

    def _write(self, source: int) -> bool:
        for number in self._numbers[source]:
            while self._pulled and not self.mailbox.wait_for_room(source, LONG_S):
                pass
            slot = self.mailbox.blank(self._way)
            slot.grabbed, slot.source = Grabbed(number, captured_ns=0), source
            slot.captured_ns = time.monotonic_ns()
            for start in range(0, 64, 8):  # in steps, so that a reader could see it half done
                slot.tensor[start : start + 8] = number
            if self.mailbox.offer(slot):
                return True
        return False

    def _read_slowly(self, slots: list[Slot]) -> None:
        assert self._running.acquire(blocking=False), "two forward passes at once"
        self.largest = max(self.largest, len(slots))
        for slot in slots:
            number = slot.grabbed.number
            for _ in range(4):
                self.torn += not (slot.tensor == number).all() or slot.grabbed.number != number
                time.sleep(0)  # the other's turn
            self.read[slot.source].append(number)
        self._running.release()


@pytest.mark.usefixtures("threads_change_often")
@pytest.mark.parametrize(("sources", "batch"), [(1, 1), (3, 1), (1, 4), (3, 4)])
def test_no_frame_is_torn_and_each_is_read_or_counted(sources: int, batch: int) -> None:
    crowd = Crowd(1000, sources=sources, pulled=False, batch=batch)
    read = crowd()
    assert crowd.torn == 0
    assert crowd.largest <= batch
    for numbers, replaced in zip(read, crowd.mailbox.replaced, strict=True):
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 999
        assert len(numbers) + replaced == 1000


@pytest.mark.usefixtures("threads_change_often")
@pytest.mark.parametrize("batch", [1, 4])
def test_who_waits_for_room_loses_nothing_and_keeps_the_order(batch: int) -> None:
    crowd = Crowd(2000, pulled=True, batch=batch)
    assert crowd() == [list(range(2000))]
    assert crowd.torn == 0
    assert crowd.mailbox.replaced == [0]
