"""The simulation of pipelines: what waits, what is dropped, what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.lab.place import Place
from edge.lab.prediction import MOST_RATE, all_answered, head_room, predict, unanswered
from edge.lab.simulation import Cores, Cost, Load, LoadOutcome, SourceLoad, simulate
from edge.lab.workload import calibrated, costs_by_source, passes_by_batch, period_ns
from edge.wire import Done, Late

MS = 1_000_000
CORES = Cores(frozenset({0, 1}), 4e6)
COST = Cost(capture=0.5 * MS, preprocess=0.5 * MS, handover=0, inference=8 * MS, decode=1 * MS)


def source(
    period_ms: float | None = 100.0, *, deadline_ms: float = 50, cost: Cost = COST
) -> SourceLoad:
    period_ns = None if period_ms is None else period_ms * MS
    return SourceLoad("s", period_ns, round(deadline_ms * MS), [cost])


def load(*sources: SourceLoad, **options: Any) -> Load:
    place = options.pop("place", Place(CORES.numbers))
    return Load("p", sources or (source(),), place, **{"capture_share": 1.0} | options)


def run(*loads: Load, seconds: float = 20, cores: Cores = CORES) -> list[LoadOutcome]:
    return simulate(loads, cores, seconds=seconds, generator=np.random.default_rng(3))


def test_a_frame_alone_takes_as_long_as_its_stages() -> None:
    (outcome,) = run(load())
    (counts,) = outcome.sources
    assert counts.arrived == counts.answered == 200
    assert counts.latencies_ns == pytest.approx([10 * MS] * 200)
    assert unanswered(counts) == 0
    assert outcome.engine_ns == pytest.approx(200 * 8 * MS)
    assert outcome.cpu_ns == pytest.approx(200 * 10 * MS, rel=0.01)


def test_a_model_slower_than_its_camera_runs_without_a_pause_and_newer_frames_win() -> None:
    (outcome,) = run(load(source(5)))
    (counts,) = outcome.sources
    # One answer each 9 ms (the forward pass and decoding), whatever comes.
    assert counts.answered == pytest.approx(20_000 / 9, rel=0.01)
    assert counts.mailbox == pytest.approx(20_000 / 5 - counts.answered, abs=5)
    assert counts.missed == 0
    assert outcome.engine_ns / 20e9 == pytest.approx(8 / 9, rel=0.01)


def test_frames_past_their_deadline_are_dropped_or_run_as_the_options_say() -> None:
    short = source(5, deadline_ms=12)
    (dropped,) = run(load(short))
    (ran,) = run(load(short, drop_late=False))
    assert dropped.sources[0].late > 0, "in time for the forward pass, not for the result"
    assert ran.sources[0].deadline == 0
    assert ran.sources[0].late > 0
    never = source(20, deadline_ms=0.9)
    (outcome,) = run(load(never))
    assert outcome.sources[0].deadline == outcome.sources[0].arrived
    assert outcome.engine_ns == 0


def test_a_pulled_source_is_asked_as_fast_as_the_engine_goes_and_misses_nothing() -> None:
    (outcome,) = run(load(source(None, deadline_ms=1)))
    (counts,) = outcome.sources
    assert counts.answered == pytest.approx(20_000 / 8, rel=0.02), "decoding has a core of its own"
    assert counts.mailbox == counts.deadline == counts.lost == 0


def test_no_source_starves_and_each_has_its_deadline() -> None:
    sources = [source(10), source(11), source(100, deadline_ms=12.5)]
    (outcome,) = run(load(*sources))
    fast, twin, slow = outcome.sources
    assert fast.answered == pytest.approx(twin.answered, rel=0.3)
    assert slow.answered == pytest.approx(slow.arrived, abs=3)
    assert slow.missed > 0, "behind a forward pass of another's frame"
    assert fast.late == 0


def test_frames_of_several_sources_share_a_forward_pass() -> None:
    sources = [source(20, deadline_ms=500) for _ in range(4)]
    (single,) = run(load(*sources))
    (batched,) = run(load(*sources, batch=4, batches_ns={n: [9.0 * MS] for n in (2, 3, 4)}))
    answered = [sum(each.answered for each in one.sources) for one in (single, batched)]
    assert answered[1] > 1.3 * answered[0]


def test_only_every_nth_frame_is_run() -> None:
    (outcome,) = run(load(source(10), every=4))
    assert outcome.sources[0].answered == pytest.approx(500, abs=2)
    assert outcome.sources[0].mailbox == outcome.sources[0].lost == 0


def test_pipelines_share_the_cores() -> None:
    busy = [load(source(10)) for _ in range(3)]
    found = run(*busy)
    assert sum(each.cpu_ns for each in found) == pytest.approx(2 * 20e9, rel=0.02)
    assert sum(unanswered(each.sources[0]) for each in found) == pytest.approx(1, abs=0.2)
    first = load(source(10), place=Place(CORES.numbers, priority=10))
    found = run(first, *busy[1:])
    assert unanswered(found[0].sources[0]) < 0.01
    assert unanswered(found[1].sources[0]) > 0.2
    confined = load(source(10), place=Place(frozenset({0})))
    found = run(confined, confined)
    assert sum(each.cpu_ns for each in found) == pytest.approx(20e9, rel=0.02)


def test_other_processes_take_their_part() -> None:
    (alone,), (beside,) = (run(load(), cores=replace(CORES, others=n)) for n in (0.0, 1.5))
    assert beside.sources[0].percentile_ns(90) > 1.1 * alone.sources[0].percentile_ns(90)
    assert beside.cpu_ns == pytest.approx(alone.cpu_ns, rel=0.02)


def test_threads_of_the_engine_keep_several_cores_busy() -> None:
    (outcome,) = run(load(engine_threads=1.5))
    assert outcome.cpu_ns == pytest.approx(200 * 14 * MS, rel=0.01)
    assert outcome.sources[0].percentile_ns(99) == pytest.approx(10 * MS, rel=0.01)


def test_a_seed_tells_the_same_story_again() -> None:
    noisy = [COST._replace(inference=n * MS) for n in range(4, 20)]
    loads = [load(replace(source(12), costs=noisy)) for _ in range(3)]
    one, same, other = (predict(loads, CORES, seed=seed, frames=900) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    (worst,) = one.worst[0]
    assert worst >= unanswered(one.outcomes[0].sources[0])


def test_head_room_is_as_far_as_the_rates_can_rise() -> None:
    # One answer each 9 ms is possible, and a frame that finds the engine at work just waits.
    for period_ms, expected in ((90, 10), (45, 5), (5, 5 / 9)):
        loads = [load(source(period_ms, deadline_ms=500))]
        fits = all_answered(loads, predict(loads, CORES, seed=1))
        assert fits == (expected > 1)
        found = head_room(loads, CORES, seed=1, fits=fits)
        assert found == pytest.approx(expected, rel=0.1)
    assert head_room([load(source(1e7))], CORES, seed=1, fits=True) == MOST_RATE
    assert head_room([load(source(5, deadline_ms=1))], CORES, seed=1, fits=False) == 0
    assert head_room([load(source(None))], CORES, seed=1, fits=True) is None


@pytest.mark.parametrize("used", [0.05, 0.105, 0.15, 0.25])
def test_a_calibrated_load_uses_what_was_measured(used: float) -> None:
    found = calibrated(load(capture_share=0.0), CORES, used=used, threads=1, seconds=20)
    (outcome,) = run(found)
    assert outcome.cpu_ns / 20e9 == pytest.approx(used, rel=0.02)
    assert found.engine_threads == 1
    several = calibrated(load(capture_share=0.0), CORES, used=used, threads=2, seconds=20)
    assert 1 <= several.engine_threads <= 2
    (outcome,) = run(several)
    assert outcome.cpu_ns / 20e9 == pytest.approx(used, rel=0.02)


def done(frame: int, *times_ms: float, batch: int = 1, source: int = 0) -> Done:
    """A frame captured, retrieved, prepared, taken, inferred and decoded at these times."""
    times = [round(each * MS) for each in times_ms]
    return Done(*(frame, *times, "", None, [], None, source, batch, 0))  # type: ignore[arg-type]


def test_waiting_for_an_engine_at_work_is_no_cost_of_the_frame() -> None:
    records: list[Done | Late] = [
        done(0, 0, 1, 3, 4, 14, 15),
        done(1, 10, 11, 13, 15.5, 25, 26),
        Late(2, 20 * MS, 21 * MS, 23 * MS, 27 * MS),
        done(3, 25, 26, 26.5, 27, 37, 38, source=1),
    ]
    found = costs_by_source(records, steady=True)
    assert found[0] == [
        Cost(1 * MS, 2 * MS, 1 * MS, 10 * MS, 1 * MS),
        Cost(1 * MS, 2 * MS, 0.5 * MS, 9.5 * MS, 1 * MS),
    ]
    assert found[1] == [Cost(1 * MS, 0.5 * MS, 0, 10 * MS, 1 * MS)]
    least = costs_by_source(records, steady=False)
    assert [cost.handover for cost in least[0]] == [0, 0]


def test_a_batch_is_one_forward_pass_that_its_frames_share() -> None:
    records = [
        done(0, 0, 1, 2, 4, 14, 15, batch=2),
        done(0, 0, 1, 3, 4, 14, 16, batch=2, source=1),
        done(1, 20, 21, 22, 23, 29, 30),
    ]
    assert passes_by_batch(records) == {2: [10 * MS]}
    assert costs_by_source(records, steady=False)[1][0].inference == 5 * MS


def test_a_camera_s_period_counts_the_frames_that_were_lost() -> None:
    records = [done(frame, frame * 33, *[frame * 33 + 1] * 5) for frame in (0, 1, 5, 10)]
    assert period_ns(records, 0) == 33 * MS
    assert period_ns(records, 1) is None
    assert period_ns(records[:1], 0) is None
