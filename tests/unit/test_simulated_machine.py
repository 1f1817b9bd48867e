"""Cores that exist only in arithmetic: who runs when, as on Linux."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge.config.cpu import Cpu
from edge.lab.place import Place, place_of
from edge.lab.simulated_machine import SimulatedMachine, Work

MS = 1e6
BOTH = Place(frozenset({0, 1}))
FIRST = Place(frozenset({0}))


@dataclass
class Process:
    """Begins work, and remembers when it was done."""

    machine: SimulatedMachine
    place: Place = BOTH
    cpu_ns: float = 0.0
    ended_ms: list[float] = field(default_factory=list)

    def work(self, length_ms: float) -> None:
        self.machine.work(Work(self.place, length_ms * MS, self, self._done))

    def _done(self) -> None:
        self.ended_ms.append(self.machine.now_ns / MS)


def machine(cores: int = 2) -> SimulatedMachine:
    return SimulatedMachine(range(cores), slice_ns=4 * MS)


def test_work_takes_its_time_and_is_written_down() -> None:
    simulated = machine()
    one = Process(simulated)
    simulated.at(5 * MS, lambda: one.work(3))
    simulated.run(20 * MS)
    assert one.ended_ms == [8]
    assert one.cpu_ns == 3 * MS
    assert simulated.now_ns == 20 * MS


def test_as_many_threads_as_cores_do_not_disturb_one_another() -> None:
    simulated = machine()
    both = [Process(simulated), Process(simulated)]
    for each in both:
        each.work(10)
    simulated.run(20 * MS)
    assert [each.ended_ms for each in both] == [[10], [10]]


def test_threads_that_share_a_core_take_turns_of_a_slice() -> None:
    simulated = machine()
    both = [Process(simulated, FIRST), Process(simulated, FIRST)]
    for each in both:
        each.work(10)
    simulated.run(19 * MS)
    assert both[0].ended_ms == [18], "4 and 4 of its own, 4 and 4 of the other, and the last 2"
    simulated.run(30 * MS)
    assert both[1].ended_ms == [20]


def test_a_core_without_work_takes_over_what_waits_for_another() -> None:
    simulated = machine()
    long, short, third = Process(simulated), Process(simulated), Process(simulated)
    long.work(30)
    short.work(1)
    third.work(2)
    simulated.run(40 * MS)
    assert third.ended_ms == [3]
    assert long.ended_ms == [30]


def test_a_thread_that_wakes_up_does_not_wait_for_one_that_ran_for_a_while() -> None:
    simulated = machine(1)
    busy, waking = Process(simulated, FIRST), Process(simulated, FIRST)
    busy.work(10)
    simulated.at(1 * MS, lambda: waking.work(0.5))
    simulated.run(3 * MS)
    assert not waking.ended_ms, "it has run for less than a third of a slice"
    simulated.run(20 * MS)
    assert waking.ended_ms == [4.5], "at the tick"

    simulated = machine(1)
    busy, waking = Process(simulated, FIRST), Process(simulated, FIRST)
    busy.work(10)
    simulated.at(2 * MS, lambda: waking.work(0.5))
    simulated.run(20 * MS)
    assert waking.ended_ms == [2.5]
    assert busy.ended_ms == [10.5]


def test_a_real_time_thread_goes_before_all_others_and_keeps_its_core() -> None:
    simulated = machine(1)
    urgent = Process(simulated, Place(frozenset({0}), priority=10))
    fair = Process(simulated, FIRST)
    fair.work(10)
    simulated.at(1 * MS, lambda: urgent.work(20))
    simulated.run(40 * MS)
    assert urgent.ended_ms == [21]
    assert fair.ended_ms == [30]


def test_a_heavier_thread_gets_more_turns() -> None:
    simulated = machine(1)
    heavy = Process(simulated, Place(frozenset({0}), weight=3.0))
    light = Process(simulated, FIRST)
    heavy.work(1000)
    light.work(1000)
    simulated.run(800 * MS)
    assert heavy.cpu_ns / light.cpu_ns == pytest.approx(3, rel=0.1)


def test_nobody_leaves_the_cores_he_may_use() -> None:
    simulated = machine()
    confined = [Process(simulated, FIRST) for _ in range(3)]
    for each in confined:
        each.work(100)
    simulated.run(100 * MS)
    assert sum(each.cpu_ns for each in confined) == pytest.approx(100 * MS)


def test_what_follows_at_once_is_done_by_the_same_thread_without_losing_its_core() -> None:
    simulated = machine(1)
    chain, other = Process(simulated, FIRST), Process(simulated, FIRST)

    def second() -> None:
        chain.work(1)

    simulated.work(Work(FIRST, 1 * MS, chain, second))
    other.work(1)
    simulated.run(10 * MS)
    assert chain.ended_ms == [2]
    assert other.ended_ms == [3]


def test_a_worker_has_the_place_that_was_granted() -> None:
    cpu = Cpu(affinity=[0, 7], scheduling="fifo", priority=20)
    assert place_of(cpu, {0, 1}) == Place(frozenset({0}), 20)
    refused = ["`cpu.scheduling: fifo` was not granted: operation not permitted"]
    assert place_of(cpu, {0, 1}, refused) == Place(frozenset({0}))
    refused = ["`cpu.affinity: [0, 7]` was not granted: no such cores here"]
    assert place_of(cpu, {1, 2}, refused) == Place(frozenset({1, 2}), 20)
    assert place_of(Cpu(nice=-5), {0}).weight == pytest.approx(1.25**5)
    refused = ["`cpu.nice: -5` was not granted: permission denied"]
    assert place_of(Cpu(nice=-5), {0}, refused).weight == 1
