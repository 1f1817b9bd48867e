"""When a pipeline goes down its ladder and when up again: by script, and in closed loop."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from simulated_device import Rates, SimulatedDevice

from edge.config.ladder import Ladder
from edge.supervisor.ladder import LadderController, Step
from edge.supervisor.sensors import Reading

RUNGS: list[dict[str, Any]] = [{"name": f"rung-{n}", "every": n + 1} for n in (1, 2, 3)]


def a_ladder(rungs: int = 1, **options: Any) -> Ladder:
    return Ladder.model_validate({"rungs": RUNGS[:rungs], **options})


class Script:
    """Feeds a controller with frames at 30 a second, and makes the steps it asks for at once."""

    def __init__(self, rungs: int = 1, **options: Any) -> None:
        ladder = a_ladder(rungs, **options)
        names = [f"rung-{n}" for n in range(rungs + 1)]
        self.controller = LadderController(ladder, names, deadlines_ms=[20], now_s=0)
        self.now_s = 0.0
        self.steps: list[Step] = []

    def frames(
        self, *latencies_ms: float, fps: float = 30, capture_ms: float = 0, ran: bool = True
    ) -> list[Step]:
        """Let these come; return the steps that were made meanwhile."""
        before = len(self.steps)
        for latency_ms in latencies_ms:
            self.now_s += 1 / fps
            self.controller.frame(
                self.now_s,
                latency_ms=latency_ms,
                capture_ms=capture_ms,
                missed=latency_ms > 20,
                ran=ran,
            )
            self.decide()
        return self.steps[before:]

    def decide(self) -> Step | None:
        step = self.controller.decide(self.now_s)
        if step is not None:
            self.steps.append(step)
            self.controller.arrived(step.rung, self.now_s)
        return step

    def feels(self, degrees: float | None, *throttled: str) -> Step | None:
        """Let it look at the sensors, a second after the last time."""
        self.frames(*[5] * 30)
        self.controller.feel(Reading(degrees, throttled, ()))
        return self.decide()


# Down.


def test_misses_over_the_share_are_a_reason_and_the_evidence_says_how_many() -> None:
    script = Script()
    (step,) = script.frames(*[5] * 100, *[25, 5, 5, 5, 5, 5, 5, 5, 30, 5, 5, 5, 5, 5, 5, 5, 25])
    assert (step.rung, step.reason) == (1, "misses")
    assert step.because == "3 of 117 frames missed the deadline of 20 ms"
    assert (step.evidence["misses"], step.evidence["frames"]) == (3, 117)
    assert step.evidence["p99_ms"] == 25
    assert step.evidence["max_ms"] == 30


def test_of_sources_with_deadlines_of_their_own_none_is_named() -> None:
    controller = LadderController(a_ladder(), ["full", "rung-1"], deadlines_ms=[20, 50], now_s=0)
    for count in range(40):
        controller.frame(count / 30, latency_ms=60, capture_ms=0, missed=True, ran=True)
    step = controller.decide(40 / 30)
    assert step is not None
    assert step.because == "40 of 40 frames missed their deadlines"


def test_misses_within_the_share_are_none() -> None:
    assert Script(max_miss_share=0.21).frames(*[5, 5, 5, 5, 25] * 60) == []


def test_a_single_stall_is_no_reason_however_many_frames_it_delays() -> None:
    script = Script()
    assert script.frames(*[5] * 100, 400, 370, 340, 300, 270, 240, *[5] * 300) == []


def test_misses_long_past_are_forgotten() -> None:
    script = Script(window_s=2)
    for _ in range(20):
        assert script.frames(25, 25, *[5] * 60) == []


def test_a_slow_source_is_judged_by_its_last_frames_however_old() -> None:
    script = Script()
    (step,) = script.frames(5, 5, 30, 30, 30, fps=0.2)
    assert step.because.startswith("3 of 5 frames")


def test_a_p99_limit_acts_before_a_deadline_is_missed() -> None:
    script = Script(max_p99_ms=15)
    assert script.frames(*[5] * 149, 16, 5, 5) == []
    (step,) = script.frames(16, 16)
    assert step.reason == "p99"
    assert step.because == "the P99 is 16 ms, above 15.0 ms"
    assert step.evidence["misses"] == 0


def test_it_goes_down_rung_by_rung_while_that_does_not_do() -> None:
    steps = Script(rungs=3).frames(*[30] * 200)
    assert [step.rung for step in steps] == [1, 2, 3]


def test_the_cheapest_rung_is_the_end_and_that_is_known() -> None:
    script = Script(rungs=1)
    script.frames(*[30] * 30)
    assert script.controller.exhausted == ""
    assert script.frames(*[30] * 3000) == []
    assert script.controller.exhausted.endswith("frames missed the deadline of 20 ms")


def test_a_rung_that_cannot_be_had_is_left_out() -> None:
    script = Script(rungs=3)
    script.controller.left_out(2)
    assert [step.rung for step in script.frames(*[30] * 100)] == [1, 3]
    assert script.frames(*[5] * 1000)[0].rung == 1


def test_nothing_is_decided_until_a_step_was_made_or_given_up() -> None:
    script = Script(rungs=2)
    controller = script.controller
    for count in range(40):
        controller.frame(count / 30, latency_ms=30, capture_ms=0, missed=True, ran=True)
    assert controller.decide(40 / 30) is not None
    assert controller.decide(41 / 30) is None
    controller.stayed()
    assert controller.decide(42 / 30) is not None


# Up.


def test_when_frames_cost_clearly_less_than_under_load_the_rung_above_is_tried() -> None:
    script = Script()
    script.frames(*[30] * 30)
    assert script.frames(*[8] * 200) == []
    (step,) = script.frames(*[2] * 300)
    assert (step.rung, step.reason) == (0, "load_gone")
    assert step.evidence["cost_ratio"] < 0.6


def test_what_a_camera_always_takes_does_not_hide_that_the_load_has_gone() -> None:
    script = Script()
    script.frames(*[30] * 30, *[18] * 200, *[12] * 300, capture_ms=10)
    assert [step.reason for step in script.steps] == ["misses", "load_gone"]


def test_answers_from_the_cache_tell_nothing_of_the_load() -> None:
    script = Script()
    script.frames(*[30] * 30)
    script.frames(*[8] * 200)
    (step,) = script.frames(*[0.1] * 1000, ran=False)
    assert step.reason == "retry"


def test_without_a_sign_it_is_tried_again_later_and_later() -> None:
    script = Script(retry_s=10)
    tries = []
    for _ in range(12_000):
        (latency_ms,) = [25 if script.controller.rung == 0 else 8]
        if script.frames(latency_ms) and script.steps[-1].rung == 0:
            tries.append(script.now_s)
    waits = [after - before for before, after in itertools.pairwise(tries)]
    assert {step.reason for step in script.steps} == {"misses", "retry", "relapse"}
    assert waits[:4] == [pytest.approx(10 * 2**n, abs=1) for n in (1, 2, 3, 4)]
    assert max(waits) <= 10 * 20 + 1


def test_a_try_costs_two_misses() -> None:
    script = Script(retry_s=10)
    script.frames(*[30] * 30)
    script.frames(*[8] * 330)
    assert script.controller.rung == 0
    assert [step.reason for step in script.frames(25, 25, 25)] == ["relapse"]


def test_no_rung_above_is_tried_while_this_one_is_in_trouble() -> None:
    script = Script(rungs=1, retry_s=1)
    script.frames(*[30] * 30)
    assert script.frames(*[30, 5] * 600) == []


# Heat.


def test_heat_is_a_reason_and_only_coolness_leads_back() -> None:
    script = Script(rungs=2)
    assert script.feels(80) is None
    step = script.feels(80.5)
    assert step is not None
    assert (step.rung, step.reason) == (1, "temperature")
    assert step.because == "80.5 C, above 80.0 C"
    assert step.evidence["temperature_c"] == 80.5
    assert all(script.feels(77) is None for _ in range(200))
    for _ in range(40):
        script.feels(74.9)
    assert [(step.rung, step.reason) for step in script.steps[1:]] == [(0, "cooled")]


def test_a_step_is_given_time_to_cool_before_the_next() -> None:
    script = Script(rungs=2)
    degrees = iter([81.0] * 10 + [80.5 - n / 10 for n in range(12)] + [79.3] * 10 + [82.0] * 30)
    steps = []
    for second, each in enumerate(degrees):
        before = len(script.steps)
        script.feels(each)
        steps += [(second, step.rung) for step in script.steps[before:]]
    assert steps[0] == (0, 1)
    assert steps[1][1] == 2
    assert steps[1][0] >= 32  # until then it grew cooler


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["under-voltage"], "throttled"),
        (["throttled", "soft temperature limit"], "throttled"),
        (["soft temperature limit"], None),
    ],
)
def test_the_firmwares_flags_are_a_reason(words: list[str], reason: str | None) -> None:
    step = Script().feels(50, *words)
    assert (step and step.reason) == reason


def test_sensors_can_be_left_unheeded() -> None:
    script = Script(max_temperature_c=None, heed_throttling=False)
    assert script.feels(120, "throttled") is None


# In closed loop with a device: by the load, the clock or the heat that the script gives it.

TWO = (Rates(3.7), Rates(0.25))
THREE = (Rates(3.7), Rates(3.6, fps=15), Rates(0.25))
SEEDS = range(3)


def between(begin_s: float, end_s: float, load: float = 4.0) -> Any:
    return lambda s: load if begin_s <= s < end_s else 0.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rates", [TWO, THREE], ids=["two rungs", "three rungs"])
@pytest.mark.parametrize("load", [4.0, 8.0])
def test_under_load_it_settles_and_comes_back_when_the_load_ends(
    rates: tuple[Rates, ...], load: float, seed: int
) -> None:
    device = SimulatedDevice(
        a_ladder(len(rates) - 1), rates, load=between(20, 140, load), seed=seed
    )
    assert device.run(200, with_ladder=False).miss_share(20, 140) > 0.3
    device.run(200)
    assert device.rung_at(23) == len(rates) - 1
    assert device.miss_share(25, 140) < 0.02
    assert device.rung_at(140 + 25) == 0
    assert device.miss_share(145, 200) == 0
    assert len(device.steps) <= 10  # down, up, and two or three tries meanwhile


@pytest.mark.parametrize("seed", SEEDS)
def test_a_load_that_comes_and_goes_slowly_is_followed(seed: int) -> None:
    device = SimulatedDevice(
        a_ladder(), TWO, load=lambda s: max(0, 4 - abs(s - 150) / 25), seed=seed
    )
    assert device.run(300, with_ladder=False).miss_share(100, 200) > 0.3
    device.run(300)
    assert device.miss_share(0, 300) < 0.01
    assert device.rung_at(299) == 0
    assert len(device.steps) <= 10


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("every_s", "for_s"), [(10, 1), (10, 5), (20, 10), (60, 3)], ids=lambda value: f"{value} s"
)
def test_bursts_do_not_make_it_flap(every_s: float, for_s: float, seed: int) -> None:
    device = SimulatedDevice(
        a_ladder(), TWO, load=lambda s: 4.0 if s % every_s < for_s else 0.0, seed=seed
    ).run(3600)
    assert device.miss_share(30, 3600) < 0.02
    assert len([when for when, _, _ in device.steps if when > 600]) <= 14  # in 50 minutes


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_is_too_slow_for_good_stays_down_and_tries_ever_less(seed: int) -> None:
    device = SimulatedDevice(a_ladder(), (Rates(20), Rates(5)), seed=seed).run(3600)
    assert device.miss_share(5, 3600) < 0.002
    assert device.rung_at(3599) == 1
    assert len([when for when, _, _ in device.steps if when > 1800]) <= 6


def test_where_no_rung_does_it_ends_on_the_cheapest_without_a_further_word() -> None:
    device = SimulatedDevice(a_ladder(2), (Rates(40), Rates(30), Rates(20))).run(3600)
    assert [step.rung for _, _, step in device.steps] == [1, 2]


def test_on_a_quiet_device_with_a_stall_now_and_then_nothing_happens() -> None:
    device = SimulatedDevice(a_ladder(), TWO, stalls=[20, 40, 60, 80]).run(600)
    assert device.miss_share(0, 600) > 0
    assert device.steps == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clock_that_was_slowed_down_brings_it_down_until_it_is_back(seed: int) -> None:
    device = SimulatedDevice(
        a_ladder(),
        (Rates(10), Rates(4)),
        clock=lambda s: 0.4 if 60 <= s < 300 else 1.0,
        seed=seed,
    )
    assert device.run(400, with_ladder=False).miss_share(60, 300) == 1
    device.run(400)
    assert device.miss_share(65, 300) < 0.02
    assert device.rung_at(325) == 0


def test_heat_is_kept_off_with_few_steps_and_all_comes_back_when_it_has_gone() -> None:
    device = SimulatedDevice(
        a_ladder(2),
        (Rates(20), Rates(10), Rates(3)),
        deadline_ms=33,
        heating_c=lambda s: 100 if s < 3600 else 60,
    ).run(2 * 3600)
    assert max(device.degrees) < 82
    assert len(device.steps) <= 20
    assert max(device.degrees) > 80
    assert device.rung_at(3600 + 900) == 0
